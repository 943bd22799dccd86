"""What cluster.yaml says of RunPod: its `provider` section and each node type's `node_config`, validated."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from eigen2.cloud.places import NAME
from eigen2.errors import ConfigError

SSH_PORT = "22/tcp"
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]  # a file on the head has its name


class Settings(BaseModel):
    """Frozen; a misspelt name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ProviderSettings(Settings):
    """The `provider` section. Settings of Ray's own are let through and not looked at."""

    type: Literal["external"]
    module: str
    max_usd_per_hour: float = Field(gt=0, description="what all pods of the cluster may cost together")
    owner: str | None = Field(None, pattern=f"^{NAME.pattern}$", description="whose pods; default: ~/.eigen2/owner")
    volume_id: str | None = Field(None, min_length=1, description="a network volume; it fixes the data centre")
    volume_path: str = Field("/workspace", pattern="^/.+", description="where it is mounted on every node")
    global_networking: bool = Field(True, description="a private network between pods; needed for workers")
    ready_minutes: float = Field(12, gt=0, description="a pod that can't be logged in to by then is given back")
    secrets: tuple[Variable, ...] = Field((), description="environment variables to hand to the head, as private files")
    ssh_private_key: str | None = Field(None, description="filled in from auth.ssh_private_key")
    ssh_public_key: str | None = Field(None, description="filled in for the head")
    use_internal_ips: bool = False
    disable_node_updaters: bool = False
    cache_path: str | None = Field(None, alias="_config_cache_path")


class NodeSettings(Settings):
    """A `node_config`: what to rent, and what it may cost."""

    image: str = Field(min_length=1, description="container image; it must run an SSH server for PUBLIC_KEY")
    gpu_types: tuple[str, ...] = Field(min_length=1, description="RunPod's GPU names, tried in this order")
    gpu_count: int = Field(1, ge=1, description="GPUs in a pod")
    data_centers: tuple[str, ...] = Field((), description="tried in this order; none: wherever there is room")
    cloud: Literal["SECURE", "COMMUNITY"] = "SECURE"
    disk_gb: int = Field(40, ge=1, description="container disk; gone with the pod")
    min_cuda: str | None = Field(None, pattern=r"^\d+\.\d+$", description="the oldest CUDA the driver must support")
    max_usd_per_hour: float = Field(gt=0, description="what one pod of this type may cost")
    env: dict[str, str] = Field({}, description="environment of the pod; nothing secret: RunPod's console shows it")


Kind = TypeVar("Kind", bound=Settings)


def read(kind: type[Kind], found: Mapping[str, Any], where: str) -> Kind:
    """Settings from YAML. Raises ConfigError naming section, field and what is wrong with it."""
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{where}.{field}: {first['msg']}") from None
