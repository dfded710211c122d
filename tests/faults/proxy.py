"""A TCP proxy between one host and the server, as a process of its own.

    python -m tests.faults.proxy LISTEN_PORT SERVER_PORT

SIGSTOP is a partition in both directions. SIGUSR1 loses every answer while requests still arrive, SIGUSR2
ends that.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys


class Proxy:
    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.loses_answers = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.server_port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self.pump(reader, there_writer, False), self.pump(there_reader, writer, True))

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if not (is_answer and self.loses_answers):
                    writer.write(data)
                    await writer.drain()
        writer.close()


async def main() -> None:
    proxy = Proxy(int(sys.argv[2]))
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, setattr, proxy, "loses_answers", True)
    loop.add_signal_handler(signal.SIGUSR2, setattr, proxy, "loses_answers", False)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
