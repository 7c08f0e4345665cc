"""One part of the demo in a process of its own, as in k8s/overlays/demo.

python -m sidecar.demo.part shop 127.0.0.1:8080
python -m sidecar.demo.part client http://127.0.0.1:15001
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import NoReturn

from yarl import URL

from sidecar.demo.shop import start_shop
from sidecar.demo.traffic import send_traffic
from sidecar.settings.units import parse_address

_USAGE = "usage: python -m sidecar.demo.part shop ADDRESS | client URL"


def main(arguments: list[str]) -> None:
    """Run a part until SIGTERM or SIGINT."""
    match arguments:
        case ["shop", address]:
            asyncio.run(_shop(address))
        case ["client", url]:
            asyncio.run(_client(url))
        case _:
            _fail(_USAGE, code=2)


async def _shop(text: str) -> None:
    over = _told_to_end()
    try:
        address = parse_address(text)
        runner = await start_shop(address)
    except ValueError as error:
        _fail(f"shop: {error}", code=2)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        _fail(f"shop: cannot listen on {text}: {reason}", code=1)
    host, port = runner.addresses[0][:2]
    sys.stderr.write(f"serving: shop {host}:{port}\n")
    await over.wait()
    await runner.cleanup()


async def _client(url: str) -> None:
    try:
        base = URL(url)
    except ValueError as error:
        _fail(f"client: {url}: {error}", code=2)
    if base.scheme != "http" or not base.host:
        _fail(f"client: {url} is not a URL such as http://127.0.0.1:15001", code=2)
    over = _told_to_end()
    sys.stderr.write(f"calling: {base.origin()}\n")
    await send_traffic(str(base.origin()), over)


def _told_to_end() -> asyncio.Event:
    """Return what is set by the first signal."""
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    return over


def _fail(message: str, code: int) -> NoReturn:
    sys.stderr.write(message + "\n")
    sys.exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
