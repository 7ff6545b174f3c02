"""The manifests of infra/, built and validated as an admin would, without a cluster."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
BUILT = sorted(path.parent.relative_to(INFRA).as_posix() for path in INFRA.rglob("kustomization.yaml"))
KUBERNETES = "1.31"  # What the manifests are held to; nothing of later versions is in them.


def built(folder: str) -> list[dict[str, Any]]:
    """What `kubectl kustomize` makes of a folder."""
    kubectl = Path(sys.executable).parent / "kubectl"
    done = subprocess.run([kubectl, "kustomize", INFRA / folder], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.parametrize("folder", BUILT)
def test_what_is_built_is_valid(folder: str) -> None:
    objects = built(folder)
    assert objects
    for one in objects:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)


def test_the_validation_can_fail() -> None:
    deployment = next(one for one in built("overlays/development") if one["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["imagePullPolice"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, KUBERNETES, strict=True)


@pytest.mark.parametrize(("overlay", "namespace"), [("standalone", "kubeflow"), ("profile", "graft")])
def test_an_overlay_puts_everything_into_its_namespace(overlay: str, namespace: str) -> None:
    objects = [one for one in built(f"overlays/{overlay}") if one["kind"] != "Namespace"]
    assert {one["metadata"]["namespace"] for one in objects} == {namespace}
    binding = next(one for one in objects if one["kind"] == "RoleBinding")
    assert binding["subjects"][0]["namespace"] == namespace


def test_the_role_has_the_least_rights() -> None:
    role = next(one for one in built("base") if one["kind"] == "Role")
    for rule in role["rules"]:
        assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
        if set(rule["verbs"]) - {"get"}:
            assert rule["resources"] == ["workflowtaskresults"]
        if rule["resources"] == ["secrets"]:
            assert rule["resourceNames"] == ["mlpipeline-minio-artifact", "graft-store"]


def test_no_pod_is_root_or_writes_to_its_image() -> None:
    pods = [one["spec"]["template"]["spec"] for name in BUILT for one in built(name) if one["kind"] == "Deployment"]
    assert pods
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] and security["capabilities"] == {"drop": ["ALL"]}
            assert container["image"].partition(":")[2] not in ("", "latest")


def test_the_secret_is_a_template() -> None:
    secret = yaml.safe_load((INFRA / "base" / "store_secret.template.yaml").read_text())
    kubernetes_validate.validate(secret, KUBERNETES, strict=True)
    assert set(secret["stringData"].values()) == {"REPLACE-ME"}
    assert "Secret" not in {
        one["kind"] for name in ("base", "overlays/standalone", "overlays/profile") for one in built(name)
    }


def test_the_admin_patches_say_what_they_should() -> None:
    patch = yaml.safe_load((INFRA / "admin" / "ml_pipeline_patch.yaml").read_text())
    container = patch["spec"]["template"]["spec"]["containers"][0]
    workflow = json.loads(container["env"][0]["value"])
    pod = json.loads(workflow["podSpecPatch"])
    assert workflow["podPriorityClassName"] == built("admin")[0]["metadata"]["name"]
    main = pod["containers"][0]
    assert main["name"] == "main" and main["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {mount["name"] for mount in main["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    whole = {**pod, "containers": [{**main, "image": "graft"}]}
    kubernetes_validate.validate(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": whole}, KUBERNETES, strict=True
    )
    node = yaml.safe_load((INFRA / "admin" / "gpu_node_patch.yaml").read_text())
    kubernetes_validate.validate(
        {**node, "apiVersion": "v1", "kind": "Node", "metadata": {"name": "a", **node["metadata"]}},
        KUBERNETES,
        strict=True,
    )
