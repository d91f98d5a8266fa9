"""TopK SAEs of other libraries, each driven by its public interface with its own defaults.

Where a library leaves the schedule to its user, it gets dictionary_learning's shape: a warm-up over
a twentieth of the run and a linear decay over the last fifth.

A contestant takes the run's plan and offers `step(x)` on a float32 tensor (batch, d),
`reconstruct(x)`, which returns the reconstruction and the activations (batch, width), and
`directions()`, the decoder's rows (width, d).
"""

import importlib.util
import sys
import types
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Plan:
    """One run, the same for every contestant."""

    d: int
    width: int
    k: int
    batch: int
    steps: int
    seed: int
    threads: int
    rate: float
    """Learning rate, as a multiple of the contestant's own default."""
    sample: np.ndarray
    """float32 (rows, d): training data, for initialisations that use some."""
    device: str = "cpu"
    """Where the step is taken; x lies there already."""

    @property
    def warmup(self) -> int:
        """Steps of linear warm-up."""
        return max(2, self.steps // 20)

    @property
    def decay(self) -> int:
        """Steps of the final decay."""
        return max(1, self.steps // 5)


class Plain:
    """Dense encode, torch.topk, scatter, dense decode, autograd, torch.optim.Adam."""

    def __init__(self, plan: Plan):
        generator = torch.Generator().manual_seed(plan.seed)
        rows = torch.randn(plan.width, plan.d, generator=generator)
        rows = (rows / rows.norm(dim=1, keepdim=True)).to(plan.device)
        self.k = plan.k
        self.encoder = torch.nn.Parameter(rows.clone())
        self.decoder = torch.nn.Parameter(rows.clone())
        self.encoder_bias = torch.nn.Parameter(torch.zeros(plan.width, device=plan.device))
        self.decoder_bias = torch.nn.Parameter(torch.zeros(plan.d, device=plan.device))
        parameters = [self.encoder, self.decoder, self.encoder_bias, self.decoder_bias]
        self.optimizer = torch.optim.Adam(
            parameters, lr=plan.rate * 2e-4 / (plan.width / 2**14) ** 0.5
        )

    def reconstruct(self, x):
        pre = (x - self.decoder_bias) @ self.encoder.T + self.encoder_bias
        values, latents = pre.topk(self.k, sorted=False)
        z = torch.zeros_like(pre).scatter(1, latents, values.relu())
        return z @ self.decoder + self.decoder_bias, z

    def step(self, x):
        loss = (self.reconstruct(x)[0] - x).square().mean()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            self.decoder /= self.decoder.norm(dim=1, keepdim=True)

    def directions(self):
        return self.decoder


class Cladescope:
    """This project's step on a processor, with the default recipe, as in a long run."""

    screens = True

    def __init__(self, plan: Plan):
        from cladescope.dictionaries.training import schedule
        from cladescope.dictionaries.training.initial import Beginning, initial_dictionary
        from cladescope.dictionaries.training.processor_step import SparseTopK
        from cladescope.dictionaries.training.screening import Screen
        from cladescope.dictionaries.training.spec import FitSpec
        from cladescope.machines import fast_in_bfloat16

        self.plan = plan
        self.recipe = default_recipe(plan)
        self.schedule = schedule
        self.start = initial_dictionary(
            Beginning.of(plan.sample), FitSpec(plan.width, plan.k, plan.seed), plan.k
        )
        self.learner = SparseTopK(
            self.start,
            self.recipe.aux_coefficient,
            schedule.adam_betas(plan.steps),
            plan.threads,
            Screen(plan.width, plan.d) if self.screens and fast_in_bfloat16() else None,
        )
        self.peak = plan.rate * schedule.peak_rate(self.recipe, plan.width, plan.steps)
        self.silent = np.zeros(plan.width, np.int64)
        self.taken = 0

    def step(self, x):
        # The timed steps may go on beyond the plan's end.
        step = min(self.taken, self.plan.steps - 1)
        rate = self.peak * self.schedule.schedule(step, self.plan.steps, self.recipe)
        rows = self.plan.steps * self.plan.batch
        dead = self.silent >= self.recipe.dead_share * rows
        report = self.learner.step(self.start.normalise(x.numpy()), rate, dead)
        self.silent += len(x)
        self.silent[report.firing > 0] = 0
        by = self.schedule.lift(rate, self.plan.steps)
        self.learner.lift(self.silent >= self.recipe.lift_share * rows, by)
        self.taken += 1

    def reconstruct(self, x):
        from dataclasses import replace

        finished = replace(self.start, **self.learner.finished([]))
        z = finished.encode(finished.normalise(x.numpy()))
        guess = finished.decode(z) * np.float32(finished.scale) + finished.mean
        return torch.from_numpy(guess), torch.from_numpy(z)

    def directions(self):
        return torch.from_numpy(self.learner.parameters["decoder"])


class CladescopeInFloat32(Cladescope):
    """The same without AMX."""

    screens = False


class CladescopeOnDevice:
    """This project's step of a GPU, with the default recipe, as in a long run."""

    def __init__(self, plan: Plan):
        from cladescope.dictionaries.training.gpu_step import learner_on
        from cladescope.dictionaries.training.initial import Beginning
        from cladescope.dictionaries.training.plain_step import TopK
        from cladescope.dictionaries.training.spec import FitSpec

        spec = FitSpec(plan.width, plan.k, plan.seed, default_recipe(plan))
        beginning, device = Beginning.of(plan.sample), torch.device(plan.device)
        self.learner = learner_on(device, TopK, beginning, spec, plan.steps)
        self.steps, self.taken = plan.steps, 0

    def step(self, x):
        # The timed steps may go on beyond the plan's end. A log's interval is one step here: the
        # device is asked after each, which runs of more than a hundred steps do more rarely.
        from cladescope.dictionaries.training.batches import Batches, Block

        block = Block(np.empty((len(x), x.shape[1]), np.float32))
        block._copy = x
        batches = Batches(block, len(x), 0, 0)
        list(self.learner.take(batches, range(1), min(self.taken, self.steps - 1)))
        self.taken += 1

    def reconstruct(self, x):
        from dataclasses import replace

        finished = replace(self.learner.start, **self.learner.finished([]))
        z = finished.encode(finished.normalise(x.cpu().numpy()))
        guess = finished.decode(z) * np.float32(finished.scale) + finished.mean
        return torch.from_numpy(guess).to(x.device), torch.from_numpy(z).to(x.device)

    def directions(self):
        return self.learner.weights.decoder


def default_recipe(plan: Plan):
    """Return this project's default recipe for a plan."""
    from cladescope.dictionaries.training.spec import Recipe
    from cladescope.schema import load_schema

    options = load_schema()["$defs"]["training"]["properties"]
    defaults = {name: o["default"] for name, o in options.items() if "default" in o}
    return Recipe(**defaults | {"images": plan.steps * plan.batch, "batch_size": plan.batch})


class Sparsify:
    """eai-sparsify: SparseCoder and the calls of its Trainer, schedule-free signum."""

    def __init__(self, plan: Plan):
        from schedulefree import ScheduleFreeWrapper
        from sparsify.config import SparseCoderConfig
        from sparsify.sign_sgd import SignSGD
        from sparsify.sparse_coder import SparseCoder

        torch.manual_seed(plan.seed)
        config = SparseCoderConfig(num_latents=plan.width, k=plan.k)
        self.sae = SparseCoder(plan.d, config, device=plan.device, dtype=torch.float32)
        self.sae.b_dec.data = torch.from_numpy(plan.sample.mean(0)).to(plan.device)
        rate = plan.rate * 5e-3 / (plan.width / 2**14) ** 0.5
        self.optimizer = ScheduleFreeWrapper(SignSGD(self.sae.parameters(), lr=rate), momentum=0.95)
        self.optimizer.train()
        self.silent = torch.zeros(plan.width, dtype=torch.long, device=plan.device)
        # Its default is ten million tokens, more than such a run has.
        self.dead_after = min(10_000_000, plan.steps * plan.batch // 10)

    def step(self, x):
        self.optimizer.train()
        self.sae.set_decoder_norm_to_unit_norm()
        out = self.sae(x, dead_mask=self.silent > self.dead_after)
        (out.fvu + out.auxk_loss / 32).backward()
        self.sae.remove_gradient_parallel_to_decoder_directions()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.silent += len(x)
        self.silent[out.latent_indices.flatten()] = 0

    def reconstruct(self, x):
        self.optimizer.eval()
        out = self.sae(x)
        z = torch.zeros(len(x), len(self.silent), device=x.device)
        return out.sae_out, z.scatter(1, out.latent_indices, out.latent_acts)

    def directions(self):
        return self.sae.W_dec


class DictionaryLearning:
    """dictionary-learning: TopKTrainer."""

    def __init__(self, plan: Plan):
        _without_init("dictionary_learning")
        from dictionary_learning.trainers.top_k import TopKTrainer

        self.trainer = TopKTrainer(
            steps=plan.steps,
            activation_dim=plan.d,
            dict_size=plan.width,
            k=plan.k,
            layer=0,
            lm_name="benchmark",
            # What it takes by default.
            lr=plan.rate * 2e-4 / (plan.width / 2**14) ** 0.5,
            warmup_steps=plan.warmup,
            decay_start=plan.steps - plan.decay,
            seed=plan.seed,
            device=plan.device,
        )
        self.trainer.dead_feature_threshold = min(10_000_000, plan.steps * plan.batch // 10)
        self.taken = 0

    def step(self, x):
        self.trainer.update(self.taken, x)
        self.taken += 1

    def reconstruct(self, x):
        return self.trainer.ae(x, output_features=True)

    def directions(self):
        return self.trainer.ae.decoder.weight.T


class SAELens:
    """sae-lens: TopKTrainingSAE and SAETrainer, in its sparse mode."""

    def __init__(self, plan: Plan):
        from sae_lens.config import SAETrainerConfig
        from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
        from sae_lens.training.sae_trainer import SAETrainer

        torch.manual_seed(plan.seed)
        config = TopKTrainingSAEConfig(
            d_in=plan.d,
            d_sae=plan.width,
            k=plan.k,
            dtype="float32",
            device=plan.device,
            use_sparse_activations=True,
            rescale_acts_by_decoder_norm=False,
        )
        self.sae = TopKTrainingSAE(config)
        self.sae.b_dec.data = torch.from_numpy(plan.sample.mean(0)).to(plan.device)
        run = SAETrainerConfig(
            device=plan.device,
            total_training_samples=plan.steps * plan.batch,
            train_batch_size_samples=plan.batch,
            lr=plan.rate * 3e-4,
            lr_end=plan.rate * 3e-4,
            lr_warm_up_steps=plan.warmup,
            lr_decay_steps=plan.decay,
            dead_feature_window=max(1, plan.steps // 10),
        )
        self.trainer = SAETrainer(run, self.sae, data_provider=iter(()))

    def step(self, x):
        self.trainer.step(x)
        self.trainer.n_training_steps += 1

    def reconstruct(self, x):
        z = self.sae.encode(x)
        return self.sae.decode(z), z.to_dense() if z.is_sparse else z

    def directions(self):
        return self.sae.W_dec


class Overcomplete:
    """overcomplete: TopKSAE, train_sae and its auxiliary loss."""

    def __init__(self, plan: Plan):
        _without_init("overcomplete")
        from overcomplete.sae import TopKSAE, train_sae
        from overcomplete.sae.losses import top_k_auxiliary_loss

        torch.manual_seed(plan.seed)
        self.sae = TopKSAE(plan.d, nb_concepts=plan.width, top_k=plan.k, device=plan.device)
        self.optimizer = torch.optim.Adam(self.sae.parameters(), lr=plan.rate * 5e-4)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer,
            lambda step: min(1, (step + 1) / plan.warmup, (plan.steps - step) / plan.decay),
        )
        self.train, self.loss = train_sae, top_k_auxiliary_loss

    def step(self, x):
        self.train(
            self.sae,
            [x],
            self.loss,
            self.optimizer,
            self.scheduler,
            nb_epochs=1,
            monitoring=0,
            device=x.device,
        )

    def reconstruct(self, x):
        self.sae.train()
        _, z, guess = self.sae(x)
        return guess, z

    def directions(self):
        return self.sae.get_dictionary()


def _without_init(package: str) -> None:
    """Import a package's modules without its __init__, which wants more than it uses here."""
    if package in sys.modules:
        return
    spec = importlib.util.find_spec(package)
    module = types.ModuleType(package)
    module.__path__ = list(spec.submodule_search_locations)
    sys.modules[package] = module


CONTESTANTS = {
    "plain": Plain,
    "cladescope": Cladescope,
    "cladescope_float32": CladescopeInFloat32,
    "cladescope_device": CladescopeOnDevice,
    "sparsify": Sparsify,
    "dictionary_learning": DictionaryLearning,
    "sae_lens": SAELens,
    "overcomplete": Overcomplete,
}
