"""Every field of a run's configuration: its meaning, unit, range and default.

Field names are unique across sections, so that a sweep or `--set` may name a field without its section.
"""

from datetime import date, datetime
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

FeatureName = Literal["log_return", "rsi", "macd_signal", "trix", "mean_distance", "volatility"]
RunName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]

DEFAULT_BUFFER_SIZE = 25_000
BUCKET_SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss")
STORAGE_SCHEMES = ("file", *BUCKET_SCHEMES, "hdfs", "viewfs")


class Section(BaseModel):
    """A frozen group of fields; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


def _names_a_day(date_format: str) -> bool:
    """Whether a day written in this form can be read back."""
    day = datetime(2004, 1, 31)
    try:
        return datetime.strptime(day.strftime(date_format), date_format) == day
    except ValueError:
        return False


class RunConfig(Section):
    """What the run is called, where it is written, how long it lasts."""

    name: RunName | None = Field(None, description="folder of the run under runs_dir; none: made from date and time")
    runs_dir: str = Field("runs", description="folder that holds the run folders")
    seed: int = Field(0, ge=0, lt=2**31, description="every random draw of the run comes from it")
    num_generations: int = Field(10, ge=1, le=100_000, description="generations to train")
    sweep_trials: int = Field(
        1, ge=1, description="trials of the sweep that this run is one of: the more, the less its best one means"
    )


class DataConfig(Section):
    """Which market file is read and what of it may be bought."""

    source: str = Field("sp20", description="`sp20` (embedded: 20 US stocks and the S&P 500), a file, or a folder")
    investable: tuple[str, ...] | None = Field(
        None, description="columns that may be bought; none: every column that is not context"
    )
    context: tuple[str, ...] | None = Field(
        None, description="columns that are only observed; none: names that start with ^, and what is not investable"
    )
    index: str | None = Field(
        None,
        description="column of the index baseline; none: the first context column that starts with ^, else the first "
        "of data.context",
    )
    periods_per_year: float | None = Field(
        None,
        gt=0,
        le=366,
        description="bars in a year, by which Sharpe and Sortino ratios are annualised; none: counted from the dates "
        "(252 for exchange days, 365 for every day, 52 for weeks, 12 for months)",
    )
    last_date: date | None = Field(None, description="days after it are not read; none: all days of the source")
    date_format: str | None = Field(
        None, description="form of the file's dates, such as '%d/%m/%Y'; none: recognised, and refused where ambiguous"
    )
    max_spike_pct: float = Field(
        60.0, gt=0, description="a move from bar to bar beyond this, in % of the price, is reported as a spike"
    )
    allow_pickle: bool = Field(
        False, description="read .pkl files; unpickling runs code, so only for files of your own making"
    )

    @field_validator("date_format")
    @classmethod
    def _date_format_names_a_day(cls, given: str | None) -> str | None:
        if given is not None and not _names_a_day(given):
            raise ValueError("must name year, month and day, for example '%d/%m/%Y'")
        return given


class FeaturesConfig(Section):
    """What an agent sees of each column on each day."""

    features: tuple[FeatureName, ...] = Field(
        ("log_return", "rsi", "macd_signal", "trix", "mean_distance", "volatility"),
        min_length=1,
        description="indicators, in order; all scale-free and causal",
    )


class SplitsConfig(Section):
    """How the days are divided, in time order: training | validation | hold-out."""

    validation_days: int = Field(252, ge=2, description="days that choose the champion, before the hold-out")
    holdout_days: int = Field(251, ge=2, description="last days of the data, looked at once at the end")
    embargo_days: int = Field(
        0, ge=0, description="days left out before validation and before the hold-out, so that nothing reaches across"
    )


class RulesConfig(Section):
    """The rules of trading and of reward. A day is one bar of the data, also where bars are weeks or months."""

    fill: Literal["next_open", "close"] = Field(
        "next_open",
        description="an order decided after the close of day t is filled at the open of t+1, or at that close",
    )
    cost_bps: float = Field(5.0, ge=0, lt=10_000, description="cost of each side of a trade, in basis points")
    max_holding_period: int = Field(20, ge=1, le=1_000, description="days after which a position is sold at the close")
    min_target_pct: float = Field(10.0, gt=0, description="lowest sale target, % above the entry price")
    max_target_pct: float = Field(50.0, gt=0, description="highest sale target, % above the entry price")
    max_coefficient: float = Field(10.0, gt=1, description="largest size of a purchase; below 1 nothing is bought")
    loss_penalty_multiplier: float = Field(1.0, ge=0, description="a losing trade's reward is multiplied by it")
    inaction_penalty: float = Field(
        1.0, ge=0, description="subtracted for a trading day with no position open and none opened"
    )
    zero_trades_penalty: float = Field(10_000.0, ge=0, description="subtracted from a slice without one trade")

    @property
    def fill_lag(self) -> int:
        """Days between a decision and its fill."""
        return 1 if self.fill == "next_open" else 0


class SlicesConfig(Section):
    """The episodes of a generation."""

    training_slices: int = Field(
        5, ge=1, le=1_000, description="random slices a generation, one from each equal stretch of the training days"
    )
    validation_slices: int = Field(3, ge=1, le=1_000, description="fixed slices of the validation days")
    trading_days: int = Field(125, ge=1, description="days of a slice on which positions may open")
    settlement_days: int | None = Field(
        None, ge=1, description="days after them on which positions only close; none: as many as a position may need"
    )
    worst_slices: int = Field(2, ge=1, description="fitness is the mean of this many worst slices, or of all if fewer")


class AgentConfig(Section):
    """The networks of a member."""

    context_days: int = Field(64, ge=2, le=5_000, description="days of history an observation covers")
    hidden_size: int = Field(32, ge=4, le=1_024, description="channels of the encoder and width of the heads")
    conviction_range: float = Field(
        6.0, gt=0, description="width of the conviction's scale, to which exploration noise is relative"
    )


class DDPGConfig(Section):
    """Gradient learning of a member (Lillicrap et al. 2015, arXiv 1509.02971)."""

    actor_lr: float = Field(0.0005, gt=0, le=1, description="learning rate of the actor")
    critic_lr: float = Field(0.001, gt=0, le=1, description="learning rate of the critic and the encoder")
    lr_decay: float = Field(1.0, gt=0, le=1, description="factor on both learning rates a generation")
    weight_decay: float = Field(0.0005, ge=0, le=1, description="decoupled weight decay of both optimisers")
    gamma: float = Field(0.99, gt=0, le=1, description="discount a day")
    tau: float = Field(0.005, gt=0, le=1, description="share of the online weights in each target update")
    gradient_steps_per_generation: int = Field(32, ge=0, le=100_000, description="updates a generation and member")
    batch_size: int = Field(32, ge=1, le=100_000, description="transitions of a batch")
    gradient_accumulation_steps: int = Field(2, ge=1, le=10_000, description="batches averaged into one update")
    micro_batches: int = Field(
        1, ge=1, le=10_000, description="pieces an update is computed in: less memory, same result"
    )
    max_grad_norm: float = Field(1.0, gt=0, description="the gradient of an update is clipped to this norm, once")
    input_noise: float = Field(
        0.5,
        ge=0,
        le=10,
        description="noise on what an update sees, in stds of a feature: against learning days by heart",
    )
    conviction_l2: float = Field(0.001, ge=0, description="weight of the convictions' mean square in the actor's loss")
    noise_scale: float = Field(0.125, ge=0, le=10, description="std of exploration, as a share of an action's range")
    noise_decay: float = Field(0.9997, gt=0, le=1, description="factor on noise_scale a trading day played")
    min_noise: float = Field(0.01, ge=0, le=10, description="exploration never falls below this share")


class ReplayConfig(Section):
    """The buffer of transitions that the population shares."""

    buffer_size: int | None = Field(
        None,
        ge=1,
        le=100_000_000,
        description="transitions kept, at least those of one generation (population_size x training_slices x "
        "trading_days); the oldest generation is overwritten first; none: 25 000, or one generation if that is more",
    )
    buffer_warmup: int = Field(5_000, ge=1, description="transitions needed before anyone learns")
    block_days: int = Field(
        64,
        ge=1,
        le=1_000,
        description="days of a sampled block, at most slices.trading_days: neighbours share their encoding",
    )
    block_transitions: int = Field(192, ge=1, le=100_000, description="transitions drawn from one block, at most")


class EvolutionConfig(Section):
    """How the next generation is bred."""

    population_size: int = Field(8, ge=1, le=4_096, description="members")
    elite_share: float = Field(0.5, gt=0, le=1, description="share of the learners kept as they are; 1: no evolution")
    min_lead: float = Field(
        4.0,
        ge=0,
        description="standard errors over the training slices by which the best must lead a member that gives way",
    )
    crown_lead: float = Field(
        1.0,
        ge=0,
        description="standard errors over the validation slices: led by no more, the heir becomes champion; "
        "without an heir a new champion leads the one before by as much",
    )
    crossover_steps: int = Field(
        64,
        ge=0,
        le=100_000,
        description="updates a generation in which the heir learns what the best agree on; 0: no heir",
    )
    crossover_lr: float = Field(0.001, gt=0, le=1, description="learning rate of these updates; it falls to 0 in them")
    mutation_rate: float = Field(0.2, ge=0, le=1, description="share of the weights that a mutation touches")
    mutation_std: float = Field(0.025, ge=0, le=10, description="std of the noise on a touched weight")
    plateau_generations: int = Field(3, ge=1, description="generations without progress before mutation grows")
    plateau_improvement: float = Field(0.02, ge=0, description="relative gain of the best validation that is progress")
    mutation_growth: float = Field(1.5, ge=1, description="factor on rate and std for each plateau")
    max_mutation_rate: float = Field(0.4, ge=0, le=1, description="growth of mutation_rate ends here")
    max_mutation_std: float = Field(0.05, ge=0, le=10, description="growth of mutation_std ends here")


class ResourcesConfig(Section):
    """What of the machine or cluster a run takes."""

    num_cpus: int | None = Field(None, ge=1, description="CPUs of a local Ray; none: the machine's")
    address: str | None = Field(None, description="a running cluster (`auto`, host:port, ray://...); none: a local Ray")
    cpus_per_member: float | None = Field(
        None, gt=0, description="CPUs reserved a member; none: an equal share, at most 1"
    )
    use_gpu: Literal["auto", "never", "always"] = Field("auto", description="`auto`: GPUs where the cluster has some")
    members_per_gpu: int | None = Field(None, ge=1, description="members sharing one GPU; none: spread over all GPUs")
    members_per_actor: int | None = Field(
        None, ge=1, description="members that live in one actor and take turns; none: those that share a core"
    )
    threads_per_member: int = Field(1, ge=1, le=256, description="torch threads of a member; numbers depend on it")
    dashboard: bool = Field(True, description="start Ray's dashboard, on loopback")
    wait_s: float = Field(600.0, gt=0, description="seconds to wait for room, for a first answer, for the disk")
    patience: float = Field(20.0, gt=1, description="who takes this many times the longest a phase took has hung")
    min_patience_s: float = Field(60.0, gt=0, description="nobody has hung before as many seconds")


class CheckpointConfig(Section):
    """How often a run is saved."""

    every_generations: int = Field(1, ge=1, description="generations between checkpoints; the last is always saved")
    keep: int = Field(3, ge=1, description="newest checkpoints kept, beside the champion's")
    storage: str | None = Field(
        None, description="URI (file://, s3://, gs://) under which a copy of the run is kept; none: no copy"
    )


class TrackingConfig(Section):
    """Who hears of the metrics."""

    wandb_mode: Literal["auto", "online", "offline", "disabled"] = Field(
        "auto",
        description="`auto`: as W&B is told (WANDB_MODE, `wandb offline`), else online with an API key, else offline",
    )
    wandb_project: str = Field("eigen2-self", min_length=1, description="project of W&B")
    wandb_entity: str | None = Field(None, description="W&B account or team; none: the key's default")
    wandb_group: str | None = Field(None, description="group of W&B; a sweep names its own")
    combined_score: str = Field(
        "0.7 * fitness/best_ever + 0.3 * final/win_rate",
        min_length=1,
        description="the metric of this name, in each generation where it needs no final/ metric: numbers, metrics, "
        "+ - * / (with spaces) and parentheses; fitness/best_ever is a maximum over training episodes that differ in "
        "each generation, validation/best_ever one over fixed episodes",
    )
    progress: bool = Field(True, description="show the progress bar")


class Config(Section):
    """A whole run."""

    run: RunConfig = RunConfig()
    data: DataConfig = DataConfig()
    features: FeaturesConfig = FeaturesConfig()
    splits: SplitsConfig = SplitsConfig()
    rules: RulesConfig = RulesConfig()
    slices: SlicesConfig = SlicesConfig()
    agent: AgentConfig = AgentConfig()
    ddpg: DDPGConfig = DDPGConfig()
    replay: ReplayConfig = ReplayConfig()
    evolution: EvolutionConfig = EvolutionConfig()
    resources: ResourcesConfig = ResourcesConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    tracking: TrackingConfig = TrackingConfig()

    @property
    def settlement_days(self) -> int:
        """Settlement days of a slice: as configured, else the longest a position can stay open."""
        if self.slices.settlement_days is not None:
            return self.slices.settlement_days
        return self.rules.max_holding_period + self.rules.fill_lag

    @property
    def slice_days(self) -> int:
        """Days of a slice, settlement included."""
        return self.slices.trading_days + self.settlement_days

    @property
    def transitions_per_generation(self) -> int:
        """Transitions that all members together play in one generation."""
        return self.evolution.population_size * self.slices.training_slices * self.slices.trading_days

    @property
    def buffer_size(self) -> int:
        """Capacity of the replay buffer in transitions: as configured, else enough for a whole generation."""
        return self.replay.buffer_size or max(DEFAULT_BUFFER_SIZE, self.transitions_per_generation)

    @model_validator(mode="after")
    def _fields_fit_together(self) -> Self:
        for broken in (self._broken_rules(), self._broken_slices(), self._broken_learning(), self._broken_storage()):
            for message in broken:
                raise ValueError(message)
        return self

    def _broken_rules(self) -> list[str]:
        rules, broken = self.rules, []
        if rules.min_target_pct > rules.max_target_pct:
            broken.append(
                f"rules.min_target_pct is {rules.min_target_pct:g}, above rules.max_target_pct {rules.max_target_pct:g}"
            )
        needed = rules.max_holding_period + rules.fill_lag
        if self.settlement_days < needed:
            broken.append(
                f"slices.settlement_days is {self.settlement_days}, but rules.max_holding_period "
                f"{rules.max_holding_period} with fill {rules.fill} needs at least {needed}"
            )
        return broken

    def _broken_slices(self) -> list[str]:
        slices, broken = self.slices, []
        if slices.worst_slices > slices.training_slices:
            broken.append(
                f"slices.worst_slices is {slices.worst_slices}, above slices.training_slices {slices.training_slices}"
            )
        for name, days in (
            ("validation_days", self.splits.validation_days),
            ("holdout_days", self.splits.holdout_days),
        ):
            if days < self.slice_days:
                broken.append(
                    f"splits.{name} is {days}, shorter than a slice: slices.trading_days {slices.trading_days} "
                    f"+ slices.settlement_days {self.settlement_days} = {self.slice_days}"
                )
        return broken

    def _broken_learning(self) -> list[str]:
        replay, broken = self.replay, []
        played = self.transitions_per_generation
        if played > self.buffer_size:
            broken.append(
                f"replay.buffer_size is {self.buffer_size}, but one generation has {played} transitions "
                f"(evolution.population_size {self.evolution.population_size} x slices.training_slices "
                f"{self.slices.training_slices} x slices.trading_days {self.slices.trading_days}): "
                f"set it to at least {played}, or leave it out"
            )
        if replay.buffer_warmup > self.buffer_size:
            broken.append(
                f"replay.buffer_warmup is {replay.buffer_warmup}, above replay.buffer_size {self.buffer_size}"
            )
        batch = self.ddpg.batch_size * self.ddpg.gradient_accumulation_steps
        if batch > self.buffer_size:
            broken.append(
                f"ddpg.batch_size x ddpg.gradient_accumulation_steps is {batch}, "
                f"above replay.buffer_size {self.buffer_size}"
            )
        return broken

    def _broken_storage(self) -> list[str]:
        # never with the value: a URI may hold a key
        if self.checkpoint.storage is None:
            return []
        try:
            uri = urlsplit(self.checkpoint.storage)
        except ValueError:
            return ["checkpoint.storage is not a URI"]
        if uri.password is not None:
            return ["checkpoint.storage holds a key; give it in the environment, for example AWS_SECRET_ACCESS_KEY"]
        if uri.scheme not in STORAGE_SCHEMES or "://" not in self.checkpoint.storage:
            return [f"checkpoint.storage must begin with one of {', '.join(f'{s}://' for s in STORAGE_SCHEMES)}"]
        if uri.scheme == "file" and (uri.netloc or not uri.path.startswith("/")):
            return ["checkpoint.storage must be absolute: file:///folder"]
        if uri.scheme in BUCKET_SCHEMES and not uri.netloc:
            return [f"checkpoint.storage names no bucket: {uri.scheme}://bucket/folder"]
        return []
