import ipaddress

import pytest

from services.parser.addresses import is_public

REFUSED = {
    "private": ["10.0.0.1", "172.16.0.1", "192.168.1.1", "fc00::1", "fd00:ec2::254"],
    "loopback": ["127.0.0.1", "127.255.255.254", "::1", "0.0.0.0", "::"],
    "link-local": ["169.254.0.1", "fe80::1", "fe80::1%eth0", "fec0::1"],
    "metadata": ["169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192"],
    "multicast": ["224.0.0.1", "239.255.255.250", "ff02::1"],
    "carrier-grade": ["100.64.0.1", "100.127.255.254"],
    "IPv4-mapped": ["::ffff:127.0.0.1", "::ffff:8.8.8.8", "::7f00:1", "::ffff:0:7f00:1"],
    "6to4": ["2002:7f00:1::", "2002:808:808::1", "192.88.99.1"],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1"],
    "Teredo": ["2001:0:4136:e378::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "198.18.0.1", "203.0.113.1", "2001:db8::1", "100::1"],
}
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e"]


@pytest.mark.parametrize(("kind", "address"), [(kind, one) for kind, found in sorted(REFUSED.items()) for one in found])
def test_what_is_not_on_the_public_internet_is_not_reached(kind: str, address: str) -> None:
    assert not is_public(ipaddress.ip_address(address)), kind


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_may_be_reached(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))
