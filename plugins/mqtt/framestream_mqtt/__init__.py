"""MQTT control packets for framestream: versions 3.1.1 and 5."""

from framestream_mqtt._mqtt import Mqtt
from framestream_mqtt._packet import Packet, PacketType

__all__ = ["Mqtt", "Packet", "PacketType"]
