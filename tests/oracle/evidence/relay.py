"""Programs that share one start of torch: each is a fork of a process that has it loaded.

    relay.py SOCKET CASE

stands for the program in exec: and hands its input, output and log to that process.
"""

import os
import socket
import sys


def serve(path, run):
    """Forks for everyone who connects, until it is ended; run(case) in the fork."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        while True:
            connection, _ = listening.accept()
            case, streams, _, _ = socket.recv_fds(connection, 1 << 16, 3)
            if os.fork() == 0:
                listening.close()
                for number, stream in enumerate(streams):
                    os.dup2(stream, number)
                sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")
                code = 1
                try:
                    run(case.decode())
                    code = 0
                finally:
                    sys.stderr.flush()
                    os._exit(code)
            for stream in streams:
                os.close(stream)
            connection.close()
            while True:  # those that have ended
                try:
                    if os.waitpid(-1, os.WNOHANG)[0] == 0:
                        break
                except ChildProcessError:
                    break


def main():
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(sys.argv[1])
        socket.send_fds(connection, [sys.argv[2].encode()], [0, 1, 2])
        for stream in (0, 1):  # the fork's alone
            os.close(stream)
        connection.recv(1)  # nothing, when it has ended


if __name__ == "__main__":
    main()
