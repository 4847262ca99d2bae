"""Functions try what RUN lines try too: files, sockets, services and processes of the network's machine."""

import json
import socket
from pathlib import Path

import pytest

from tests.attacks import ATTACKS, beyond, machine

from .conftest import Network
from .functions import PREAMBLE
from .test_hostile_functions import WALLS, _environment
from .test_runner import COLD
from .test_walls import _walls


@WALLS
def test_function_is_refused_everything(
    network: Network, tmp_path: Path, warm: bool, mount_wall: bool
) -> None:
    network.start(mount_wall=mount_wall)
    with machine(tmp_path) as there:
        given = network.model(json.dumps(vars(there)).encode())
        code = (
            PREAMBLE + "os.environ['GIVEN'] = given['shared']\n" + ATTACKS + "write('model', '')\n"
        )
        result = network.perform(code, inputs=[given], environment=_environment(warm))
    assert result["failure"] is None, network.log(result)
    (line,) = [line for line in network.log(result).splitlines() if line.startswith("FOUND ")]
    found: dict[str, str] = json.loads(line.removeprefix("FOUND "))
    assert len(found) > 30
    done = {name for name, what in found.items() if not what.startswith("refused")}
    walls = _walls() if mount_wall else {**_walls(), "mounts": False}
    assert done <= beyond(walls, network=False), found


@pytest.mark.parametrize("environment", [{}, COLD], ids=["zygote", "cold"])
def test_function_reaches_no_address_of_the_internet_and_no_names(
    network: Network, environment: dict[str, object]
) -> None:
    network.start()
    code = PREAMBLE + (
        "import socket\n"
        "found = []\n"
        "for action in (lambda: socket.create_connection(('192.0.2.1', 443), 2),\n"
        "               lambda: socket.create_connection(('2001:db8::1', 443), 2),\n"
        "               lambda: socket.getaddrinfo('localhost.example', 443)):\n"
        "    try:\n"
        "        action()\n"
        "        found.append('done')\n"
        "    except OSError:\n"
        "        found.append('refused')\n"
        "write('model', json.dumps(found))\n"
    )
    assert socket.has_ipv6
    result = network.perform(code, environment=environment)
    assert json.loads(Path(result["outputs"][0]["path"]).read_text()) == ["refused"] * 3
