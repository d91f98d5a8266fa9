"""A private Slurm of four nodes: no systemd, no terminal, everything in one folder."""

import os
import re
import shutil
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
PLUGINS = Path(f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}/slurm-wlm")
NODES = ("n1", "n2", "g1", "g2")
# Nodes g1 and g2 have two GPUs each for Slurm and none for torch: any device file will do. Memory
# limits are enforced by sampling, so no control groups are needed. What is lost is noticed within
# seconds.
SLURM_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={folder}/munge/socket,cred_expire=10
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
PluginDir={plugins}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=0
MinJobAge=3600
KillWait=2
SlurmdTimeout=10
ReturnToService=1
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
GresTypes=gpu
{nodes}
PartitionName=cpu Nodes=n1,n2 Default=YES LLN=YES PriorityTier=1
PartitionName=urgent Nodes=n1,n2,g1,g2 PriorityTier=2
PartitionName=gpu Nodes=g1,g2 LLN=YES
PartitionName=short Nodes=n1 MaxTime=00:30:00
"""
GRES_CONF = """\
AutoDetect=off
NodeName=g1,g2 Name=gpu Type=h200 File=/dev/null
NodeName=g1,g2 Name=gpu Type=h200 File=/dev/zero
"""
# Snakemake's jobs call srun without SLURM_CONF, which the executor takes from their environment.
SRUN = """\
#!/bin/sh
SLURM_CONF={folder}/slurm.conf exec {srun} "$@"
"""


def missing() -> str | None:
    """Return why no cluster can be started here, None if one can."""
    if os.geteuid() != 0:
        return "a private Slurm needs root"
    lacking = [program for program in PROGRAMS if shutil.which(program) is None]
    if lacking or not PLUGINS.is_dir():
        return (
            f"no {', '.join(lacking) or PLUGINS}; on Debian 12: "
            "apt-get install --no-install-recommends slurm-wlm munge"
        )
    return None


def shown(text: str) -> dict[str, str]:
    """Return the fields of what `scontrol show` prints."""
    return dict(re.findall(r"(\w+)=(\S*)", text))


class Cluster:
    """Daemons of a running cluster."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.daemons: dict[str, subprocess.Popen] = {}
        self.environment = {
            **os.environ,
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{folder}:{os.environ['PATH']}",
        }

    def __call__(self, *command: str) -> str:
        """Run a Slurm command and return what it prints."""
        result = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=30
        )
        assert result.returncode == 0, f"{' '.join(command)}: {result.stderr}"
        return result.stdout

    def jobs(self, *fields: str, states: str = "all") -> list[tuple[str, ...]]:
        """Return the named fields (squeue's letters) of every job in one of the states."""
        lines = self(
            "squeue", "--noheader", f"--states={states}", "--format", "\t".join(fields)
        ).splitlines()
        return [tuple(line.split("\t")) for line in lines]

    def field(self, job: str, name: str) -> str:
        """Return what `scontrol show job` says of a job."""
        return shown(self("scontrol", "show", "job", job))[name]

    def node_state(self, node: str) -> str:
        """Return the states of a node, as in `DOWN+NOT_RESPONDING`."""
        return shown(self("scontrol", "show", "node", node))["State"]

    def answers(self) -> bool:
        """Whether the controller answers."""
        ping = subprocess.run(
            ["scontrol", "ping"], env=self.environment, capture_output=True, check=False, timeout=30
        )
        return ping.returncode == 0

    def start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start_node(self, node: str) -> None:
        self.start(node, "slurmd", "-D", "-N", node)

    def stop(self, *names: str) -> None:
        """Terminate daemons, all at once; kill those that will not go."""
        stopping = [self.daemons.pop(name) for name in names if name in self.daemons]
        for daemon in stopping:
            daemon.terminate()
        for daemon in stopping:
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def kill(self, name: str) -> None:
        daemon = self.daemons.pop(name)
        daemon.kill()
        daemon.wait()

    def kill_jobs(self) -> None:
        """Kill what is left of jobs, whose slurmd may have been killed before, and of tests."""
        conf = self.environment["SLURM_CONF"]
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("SLURM_CONF") == conf:
                    process.kill()

    def wait_for_nodes(self) -> None:
        """Wait until every node answers and is free."""
        free = ("sinfo", "--noheader", "--responding", "--states=idle", "-N", "-o", "%N")
        self.wait(lambda: set(self(*free).split()) == set(NODES), "every node is idle")

    def wait(self, condition, what: str, seconds: float = 600) -> None:
        """Wait until a condition holds; what the daemons logged goes into the error."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                logs = [f"== {p.name}\n{p.read_text()[-3000:]}" for p in self.folder.glob("*.log")]
                raise AssertionError(f"not within {seconds} s: {what}\n" + "\n".join(logs))
            # Each look is a process.
            time.sleep(0.3)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    """Start munge, the controller and the nodes; stop them all in the end."""
    for name in ("munge", "state", *NODES):
        (folder / name).mkdir()
    host = socket.gethostname()
    port, *ports = free_ports(1 + len(NODES))
    nodes = [
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={node_port} CPUs=64 "
        f"RealMemory=256000{' Gres=gpu:h200:2' if node.startswith('g') else ''}"
        for node, node_port in zip(NODES, ports, strict=True)
    ]
    (folder / "slurm.conf").write_text(
        SLURM_CONF.format(
            host=host, port=port, folder=folder, plugins=PLUGINS, nodes="\n".join(nodes)
        )
    )
    (folder / "gres.conf").write_text(GRES_CONF)
    wrapper = folder / "srun"
    wrapper.write_text(SRUN.format(folder=folder, srun=shutil.which("srun")))
    wrapper.chmod(0o755)
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)

    cluster = Cluster(folder)
    munge = [f"--{part}-file={folder}/munge/{part}" for part in ("key", "pid", "log", "seed")]
    socket_path = folder / "munge" / "socket"
    try:
        # --force: the folder is private, where munge would like a socket that everyone can reach.
        cluster.start(
            "munged", "munged", "--foreground", "--force", f"--socket={socket_path}", *munge
        )
        cluster.wait(socket_path.exists, "munge answers", 10)
        cluster.start("slurmctld", "slurmctld", "-D", "-c")
        for node in NODES:
            cluster.start_node(node)
        cluster.wait_for_nodes()
        yield cluster
    finally:
        try:
            if "slurmctld" in cluster.daemons:
                cluster("scancel", "--user=root")
                cluster.wait(lambda: not cluster.jobs("%i", states="R,CG,PD"), "no job is left", 30)
        finally:
            cluster.stop("slurmctld", *NODES)
            cluster.stop("munged")
            cluster.kill_jobs()
