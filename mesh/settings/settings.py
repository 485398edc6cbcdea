"""All settings of a node: one model for each section."""

import msgspec
from msgspec import field

from mesh.settings.api import ApiSettings
from mesh.settings.bus import BusSettings, LinkSettings
from mesh.settings.gateway import GatewaySettings, LimitSettings
from mesh.settings.history import HistorySettings
from mesh.settings.log import LogSettings
from mesh.settings.presence import PresenceSettings
from mesh.settings.sections import (
    AdminSettings,
    DrainSettings,
    GarbageSettings,
    SecuritySettings,
    WorkerSettings,
)
from mesh.settings.transports import LongPollSettings, ZeroMQSettings


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """A node's settings, by section."""

    bus: BusSettings = field(default_factory=BusSettings)
    link: LinkSettings = field(default_factory=LinkSettings)
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    longpoll: LongPollSettings = field(default_factory=LongPollSettings)
    zeromq: ZeroMQSettings = field(default_factory=ZeroMQSettings)
    drain: DrainSettings = field(default_factory=DrainSettings)
    security: SecuritySettings = field(default_factory=SecuritySettings)
    presence: PresenceSettings = field(default_factory=PresenceSettings)
    history: HistorySettings = field(default_factory=HistorySettings)
    admin: AdminSettings = field(default_factory=AdminSettings)
    log: LogSettings = field(default_factory=LogSettings)
    gc: GarbageSettings = field(default_factory=GarbageSettings)
