#!/usr/bin/python3
"""Runs a program on a terminal: waits for each PATTERN on its screen, and for the screen to come to rest, then types
the KEYS, which are as in Python's strings, or @ and the name of a file.

drive.py [PATTERN KEYS]... -- PROGRAM ARGUMENTS...
"""
import fcntl
import glob
import os
import pty
import re
import select
import signal
import struct
import sys
import termios

split = sys.argv.index("--")


def keys(word):
    if word.startswith("@"):
        return open(word[1:], "rb").read().replace(b"\n", b"\r")
    return word.encode().decode("unicode_escape").encode()


script = [keys(word) for word in sys.argv[1:split]]
child, terminal = pty.fork()
if child == 0:
    os.environ["TERM"] = "xterm"
    os.execvp(sys.argv[split + 1], sys.argv[split + 1 :])
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
screen = everything = b""


def give_up(*_):
    text = re.sub(rb"(\x1b[^a-zA-Z]*[a-zA-Z]|\s)+", b" ", everything)
    sys.exit(f"waiting for {script}, after {text[-2000:].decode(errors='replace')}")


def wants_to_go_on():
    """Whether it waits for a processor or a disk, and not for us."""
    try:
        states = [open(stat).read().rpartition(")")[2].split()[0] for stat in glob.glob(f"/proc/{child}/task/*/stat")]
    except OSError:  # a thread has ended meanwhile
        return True
    return bool({"R", "D"}.intersection(states))


def is_at_rest():
    """Nothing was written for a moment; or for ten, while it wants to go on: some always have a thread that does."""
    for _ in range(10):
        if select.select([terminal], [], [], 0.05)[0]:
            return False
        if not wants_to_go_on():
            break
    return True


signal.signal(signal.SIGALRM, give_up)
signal.alarm(180)
while True:
    # some programs throw away what is typed while they still write
    while script and script[0] in screen:
        if is_at_rest():
            screen = screen[screen.index(script[0]) + len(script[0]) :]
            os.write(terminal, script[1])
            script = script[2:]
        elif select.select([terminal], [], [], 0)[0]:
            break
    try:
        octets = os.read(terminal, 4096)
    except OSError:  # how Linux says that nobody has the terminal open any more
        octets = b""
    if not octets:
        break
    screen += octets
    everything += octets
if script or os.waitpid(child, 0)[1]:
    give_up()
