"""All settings of a node: a model of one model per room."""

from pydantic import Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from mesh.settings.api import ApiSettings
from mesh.settings.presence import PresenceSettings
from mesh.settings.rooms import (
    AdminSettings,
    BusSettings,
    DrainSettings,
    GarbageSettings,
    GatewaySettings,
    LimitSettings,
    LinkSettings,
    LogSettings,
    LongPollSettings,
    SecuritySettings,
    WorkerSettings,
    ZeroMQSettings,
)

PREFIX = "MESH_"


class Settings(BaseSettings):
    """Everything a node can be told."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", validate_default=True
    )

    bus: BusSettings = Field(default_factory=BusSettings)
    link: LinkSettings = Field(default_factory=LinkSettings)
    gateway: GatewaySettings = Field(default_factory=GatewaySettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    api: ApiSettings = Field(default_factory=ApiSettings)
    longpoll: LongPollSettings = Field(default_factory=LongPollSettings)
    zeromq: ZeroMQSettings = Field(default_factory=ZeroMQSettings)
    drain: DrainSettings = Field(default_factory=DrainSettings)
    security: SecuritySettings = Field(default_factory=SecuritySettings)
    presence: PresenceSettings = Field(default_factory=PresenceSettings)
    admin: AdminSettings = Field(default_factory=AdminSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    gc: GarbageSettings = Field(default_factory=GarbageSettings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` hands over, in its order; nothing is read behind its back."""
        return (init_settings,)
