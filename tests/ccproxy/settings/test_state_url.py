"""STATE_URL: what is taken, and what ends the start with what to do."""

import subprocess
import sys

import pytest

from ccproxy.settings import ConfigurationError, Settings

GOOD = (
    "redis://localhost",
    "redis://127.0.0.1:6379/3",
    "rediss://user:secret@example.com:6380/0",
    "valkey://[::1]:6379",
    "valkeys://example.com",
    "unix:///run/redis/redis.sock?db=1",
)
BAD = {
    "localhost:6379": "begins otherwise",
    "http://localhost:6379": "begins otherwise",
    "redis:localhost": "no host",
    "redis://": "no host",
    "redis://:planted@": "no host",
    "redis://localhost:port": "port",
    "redis://localhost:0": "port",
    "redis://localhost:70000": "ort",
    "redis://localhost/planted": "number of a database",
    "unix://run/redis.sock": "unix:///run/redis",
    "unix://": "unix:///run/redis",
}


@pytest.mark.parametrize("url", GOOD)
def test_url_of_a_server_is_taken(url: str) -> None:
    settings = Settings.explicit(openai_api_key="none", state_url=f" {url} ")
    assert settings.state_url is not None
    assert settings.state_url.get_secret_value() == url
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(("url", "told"), BAD.items())
def test_another_one_ends_the_start(url: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as failed:
        Settings.explicit(openai_api_key="none", state_url=url)
    [line] = failed.value.problems
    assert line.startswith("STATE_URL: ")
    assert told in line
    assert "redis://" in line
    assert "planted" not in line


def test_missing_package_ends_the_start_with_what_to_do() -> None:
    program = (
        "import sys\n"
        "sys.modules['redis'] = None\n"
        "from ccproxy.settings import ConfigurationError, Settings\n"
        "try:\n"
        "    Settings.explicit(openai_api_key='none', state_url='redis://localhost')\n"
        "except ConfigurationError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("STATE_URL: ")
    assert "pip install 'cc-boost[redis]'" in done.stdout
