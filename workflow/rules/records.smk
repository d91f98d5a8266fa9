"""Models, and what an earlier run left, are looked at before anything runs."""

import shutil
import time

STARTED = time.time()

# A job's own process sees but a part.
if workflow.is_main_process:
    manifests = [path for name in EXPERIMENTS for path in manifests_of(name)]
    indices = [f"{RESULTS}/{job.index}" for job in expand_passes(config)]
    try:
        check_interpreter()
        check_imported(config, check_models(config))
        check_pairs(config)
        check_storage(workflow)
        # `--touch --forceall` records everything anew.
        if not is_forced(workflow):
            check_records(RESULTS, [*manifests, *of_sweep("scores.json")])
            check_clock([*dict.fromkeys(indices), *manifests])
    except ValueError as error:
        raise WorkflowError(str(error)) from error


onstart:
    try:
        check_writable(RESULTS)
        check_partitions(requests_of(workflow))
    except ValueError as error:
        raise WorkflowError(str(error)) from error
    if is_forced(workflow):
        # Nothing of an earlier run is taken: everything is computed again.
        shutil.rmtree(f"{RESULTS}/{KEPT}", ignore_errors=True)


onerror:
    for line in killed_for_memory(".", STARTED):
        print(line, file=sys.stderr)


onsuccess:
    # Of partial manifests, which Snakemake has removed.
    for left in Path(RESULTS).glob("*/activations/*/*/..L*.json.seal"):
        if not left.with_name(left.name.removeprefix(".").removesuffix(".seal")).exists():
            left.unlink()
