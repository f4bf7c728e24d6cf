"""On-demand list prices of GPU instances, for the cost lines of a plan. Pure data.

Source: AWS EC2 on-demand price list, us-east-1, Linux, USD per hour, read 2025-06; spot is taken at 40 % of it.
A price is an estimate for comparing two plans, never a bill.
"""

from __future__ import annotations

from types import MappingProxyType

USD_PER_HOUR = MappingProxyType(
    {
        "g4dn.xlarge": 0.526,
        "g4dn.2xlarge": 0.752,
        "g5.xlarge": 1.006,
        "g5.2xlarge": 1.212,
        "g5.4xlarge": 1.624,
        "g5.12xlarge": 5.672,
        "g5.48xlarge": 16.288,
        "g6.xlarge": 0.8048,
        "g6.2xlarge": 0.9776,
        "g6.4xlarge": 1.3232,
        "g6.12xlarge": 4.6016,
        "g6.48xlarge": 13.3504,
        "g6e.xlarge": 1.861,
        "g6e.2xlarge": 2.24208,
        "g6e.4xlarge": 3.00424,
        "g6e.12xlarge": 10.49264,
        "g6e.48xlarge": 30.13118,
        "p4d.24xlarge": 21.9576,
        "p5.48xlarge": 55.04,
    }
)
SPOT_SHARE = 0.4
VERSION = "aws-us-east-1-2025-06"
