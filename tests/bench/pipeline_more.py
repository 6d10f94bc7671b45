# SPDX-License-Identifier: MIT
def planner(b, C): pass
def failures(b): pass
def peer(b, C): pass
