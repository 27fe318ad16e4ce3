"""Which network addresses a document may be fetched from: public ones, and no others."""

import ipaddress
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# What `is_global` lets through: addresses that carry an IPv4 address inside or lead into this machine's own network,
# and a cloud's metadata service behind a public address.
_REFUSED: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "100.64.0.0/10",  # carrier-grade NAT, and a cloud's metadata service
            "168.63.129.16/32",  # Azure's metadata service
            "192.0.0.0/24",
            "192.88.99.0/24",  # relays of 6to4
            "198.18.0.0/15",
            "::/96",  # IPv4-compatible
            "::ffff:0:0/96",  # IPv4-mapped
            "::ffff:0:0:0/96",  # IPv4-translated
            "64:ff9b::/96",  # NAT64
            "64:ff9b:1::/48",
            "100::/64",
            "2001::/23",  # Teredo among others
            "2002::/16",  # 6to4
            "3fff::/20",
            "5f00::/16",
            "fec0::/10",  # site-local
        ),
    )
)


def is_public(address: Address) -> bool:
    """Tell whether an address is one of a machine on the public internet."""
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    return not any(address in network for network in _REFUSED if network.version == address.version)
