"""IP addresses that lead to no public host, by a table of our own: Python's own tables differ from
version to version.

From IANA's registries of special-purpose addresses of IPv4 (RFC 6890) and IPv6, read in 2025, and
the addresses of groups and those that are reserved.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

SPECIAL_NETWORKS: list[IPv4Network | IPv6Network] = [
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by the customers of a provider
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link local, and the metadata of clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # groups
        "240.0.0.0/4",  # reserved, and broadcast
        # of IPv6 only what is inside of 2000::/3 is given out
        "2001::/23",  # protocol assignments: Teredo, ORCHID, AMT and others
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, with an IPv4 address inside
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
]
GIVEN_OUT = IPv6Network("2000::/3")


def is_public(address: str) -> bool:
    """Whether this IP address may be one of a public host. Raises ValueError for no IP address."""
    ip: IPv4Address | IPv6Address = ip_address(address)
    if ip.version == 6 and ip not in GIVEN_OUT:
        return False
    return not any(ip.version == network.version and ip in network for network in SPECIAL_NETWORKS)
