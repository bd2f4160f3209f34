"""The PROXY protocol for framestream: who the client of a load balancer is, versions 1 and 2."""

from framestream_proxy._header import Address, Command, Family, ProxyHeader
from framestream_proxy._proxy import Proxy
from framestream_proxy._tlv import TlsInfo, Tlv, Tlvs

__all__ = ["Address", "Command", "Family", "Proxy", "ProxyHeader", "TlsInfo", "Tlv", "Tlvs"]
