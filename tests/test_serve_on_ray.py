"""The server under Ray Serve: the same answers, and no request that is lost in silence when a replica dies."""

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import yaml
from serving import URL

from molmo_agent.errors import EnvError, UsageError
from molmo_agent.parse import read_yaml
from molmo_agent.serve.http import on_ray
from molmo_agent.serve.http.on_ray import Deployment

TOKEN = "a-token-of-many-letters-0123"
# Ray Serve uses what pydantic deprecates, and leaves sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore")
YAML = Path(__file__).parents[1] / "deploy" / "kuberay_serve.yaml"


def ask(url: str) -> int:
    """Ask once; return the status."""
    body = json.dumps({"image": URL, "instruction": "the button"}).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url + "/v1/point", body, headers), timeout=60) as answer:
            assert json.loads(answer.read())["points"][0]["x"] == 0.5
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.slow
def test_a_killed_replica_on_ray_loses_no_request(ray_cluster):
    from ray import serve

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    ray_cluster.cluster.add_node(num_cpus=4)
    serve.start(proxy_location="EveryNode", http_options={"host": "127.0.0.1", "port": port})
    try:
        serve.run(on_ray.application(Deployment(models=("centre",), token=TOKEN, replicas=2)), name=on_ray.APP)
        assert ask(url) == 200
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(url + "/v1/models", timeout=60)
        # Ray names its workers by their actors.
        replicas = [
            process
            for process in psutil.process_iter(["cmdline"])
            if "ServeReplica" in " ".join(process.info["cmdline"] or ())
        ]
        assert len(replicas) == 2
        stop = threading.Event()

        def keep_asking() -> list[int]:
            """Ask as a client does that is told of a failure: once more, after a pause."""
            final = []
            while not stop.is_set():
                for _ in range(240):
                    status = ask(url)
                    if status == 200:
                        break
                    told.append(status)
                    time.sleep(0.25)
                final.append(status)
            return final

        told: list[int] = []
        with ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(keep_asking) for _ in range(4)]
            time.sleep(1)
            replicas[0].kill()
            time.sleep(3)
            stop.set()
            statuses = [status for one in asking for status in one.result()]
        assert set(statuses) == {200}
        # Told by the proxy, not cut off.
        assert set(told) <= {500, 503}
    finally:
        serve.shutdown()


def test_the_options_of_ray_follow_from_the_command_line():
    options = Deployment(models=("nano",), replicas=2, gpus_per_replica=0.25).options()
    assert (options["num_replicas"], options["ray_actor_options"]["num_gpus"]) == (2, 0.25)
    scaling = Deployment(replicas=1, max_replicas=4).options()["autoscaling_config"]
    assert (scaling["min_replicas"], scaling["max_replicas"]) == (1, 4)
    with pytest.raises(UsageError, match="expected --max-replicas of at least 3, as --replicas, got 2"):
        Deployment(replicas=3, max_replicas=2).options()


def test_what_fails_on_ray_is_an_error_of_the_environment(monkeypatch):
    import ray

    for error in (ConnectionError("no cluster"), RuntimeError("no\n  proxy"), ray.exceptions.RayError("an actor died")):

        def fail(*_, error=error, **__):
            raise error

        monkeypatch.setattr(ray, "init", fail)
        with pytest.raises(EnvError, match=r"the application did not start on Ray, or was lost there: (no|an) "):
            on_ray.run_on_ray(Deployment(models=("centre",)), "127.0.0.1", 0, None, on_start=print)


def test_the_configuration_for_kubernetes_names_the_application_and_takes_its_token_from_a_secret(monkeypatch):
    document = read_yaml(YAML)
    assert (document["apiVersion"], document["kind"]) == ("ray.io/v1", "RayService")
    (row,) = yaml.safe_load(document["spec"]["serveConfigV2"])["applications"]
    module, _, name = row["import_path"].partition(":")
    assert (module, getattr(on_ray, name)) == (on_ray.__name__, on_ray.app)
    monkeypatch.setattr(on_ray, "application", lambda deployment: deployment)
    monkeypatch.setenv("MOLMO_API_KEY", TOKEN)
    deployment = on_ray.app(row["args"])
    assert deployment.token == TOKEN
    assert deployment.max_replicas > deployment.replicas
    assert not deployment.is_local
    containers = [
        group["template"]["spec"]["containers"][0]
        for group in document["spec"]["rayClusterConfig"].get("workerGroupSpecs")
    ]
    containers.append(document["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"][0])
    for container in containers:
        (variable,) = [row for row in container["env"] if row["name"] == "MOLMO_API_KEY"]
        assert "secretKeyRef" in variable["valueFrom"]
    monkeypatch.delenv("MOLMO_API_KEY")
    with pytest.raises(UsageError, match="expected the token of the clients in MOLMO_API_KEY, got none"):
        on_ray.app(row["args"])
    with pytest.raises(UsageError, match=r"expected arguments from models, replicas, .*, got 'token'"):
        on_ray.app({"token": "x"})
