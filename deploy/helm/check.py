"""Checks the Helm chart without a cluster: lints it, renders it with several values, validates the
result against the schemas of Kubernetes, and sees that wrong values are refused.

Helm's own library (helm-python-sdk) and kubernetes-validate do the work. Usage: check.py [CHART]
"""

import pathlib
import re
import sys

import helm_python as helm
import kubernetes_validate
import yaml

# The oldest that Chart.yaml allows, and the newest that the schemas know.
KUBERNETES = ["1.27", kubernetes_validate.latest_version()]

URLS = {"store": {"url": "postgres://u:p@db/driftless"}, "bus": {"url": "redis://cache:6379"}}
NEEDED = {"insecureOpen": True, **URLS}
# Resources without a schema in Kubernetes itself.
CUSTOM = {"PodMonitor"}

ACCEPTED = {
    "least": NEEDED,
    "a secret of one's own": {"insecureOpen": True, "existingSecret": "mine"},
    "all": {
        **NEEDED,
        "image": {"tag": "1", "pullSecrets": [{"name": "pull"}]},
        "allowOrigin": ["https://app.example.com", "https://www.example.com"],
        "proxyProtocolFrom": ["192.0.2.0/24", "2001:db8::/32"],
        "settings": {"relay": "durable", "connections_max": 1000000},
        "service": {
            "type": "LoadBalancer",
            "annotations": {"a": "b"},
            "externalTrafficPolicy": "Local",
            "loadBalancerSourceRanges": ["192.0.2.0/24"],
        },
        "autoscaling": {"enabled": True},
        "serviceAccount": {"annotations": {"a": "b"}},
        "metrics": {"podAnnotations": True, "podMonitor": {"enabled": True, "labels": {"a": "b"}}},
        "podAnnotations": {"a": "b"},
        "podLabels": {"a": "b"},
        "priorityClassName": "high",
        "nodeSelector": {"a": "b"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
    },
    "tokens of an issuer": {**URLS, "settings": {"auth_jwks_url": "https://id.example.com/keys"}},
    "tokens by a secret of one's own": {"existingSecret": "mine"},
    "nothing optional": {
        **NEEDED,
        "podDisruptionBudget": {"enabled": False},
        "serviceAccount": {"create": False},
    },
}

REFUSED = {
    "no consent to be open": URLS,
    "no store": {"insecureOpen": True, "bus": URLS["bus"]},
    "no bus": {"insecureOpen": True, "store": URLS["store"]},
    "SQLite in a cluster": {**NEEDED, "store": {"url": "sqlite:"}},
    "a value that is not there": {**NEEDED, "replicas": 3},
    "a setting that the chart sets": {**NEEDED, "settings": {"listen": "0.0.0.0:1"}},
    "a secret among the settings": {**URLS, "settings": {"auth_secret": "x" * 32}},
    "a fraction": {**NEEDED, "settings": {"connections_max": 1.5}},
}


def main(chart_path: str) -> int:
    problems = lint(chart_path)
    with helm.Chart.load(chart_path) as chart:
        problems += strangers(chart)
        kinds = set()
        for name, values in ACCEPTED.items():
            resources = rendered(chart, values)
            kinds |= {resource["kind"] for resource in resources}
            problems += [f"{name}: {problem}" for problem in invalid(resources)]
            if name == "all":
                problems += [f"{name}: {problem}" for problem in unexpected(resources)]
        problems += [f"accepted: {name}" for name in REFUSED if accepts(chart, REFUSED[name])]
    for problem in problems:
        print(problem)
    print(
        f"helm {helm.helm_sdk_version()}: {len(ACCEPTED)} sets of values rendered, {len(REFUSED)} to"
        f" be refused; {', '.join(sorted(kinds))} against Kubernetes {' and '.join(KUBERNETES)}"
        f" (not {', '.join(CUSTOM)}); {len(problems)} problems"
    )
    return 1 if problems else 0


def lint(chart_path: str) -> list[str]:
    report = helm.lint(chart_path, NEEDED, strict=True)
    # Information (1) is about taste, such as a missing icon.
    messages = [text for text in report["messages"] if text["severity"] != 1]
    return [f"lint: {text['path']}: {text['error']}" for text in messages] + report["errors"]


def strangers(chart: helm.Chart) -> list[str]:
    """Values that templates use and values.yaml lacks (Helm renders them as nothing), and values that
    no template uses. A template may use a whole branch, as in `toYaml .Values.resources`."""
    texts = "".join(template["data"] for template in chart.templates)
    used = set(re.findall(r"\.Values\.([\w.]+)", texts))
    there = set(paths(chart.values))
    leaves = {path for path in there if not any(other.startswith(f"{path}.") for other in there)}
    covered = {leaf for leaf in leaves for path in used if f"{leaf}.".startswith(f"{path}.")}
    missing = [f"not in values.yaml: {path}" for path in sorted(used - there)]
    return missing + [f"used by no template: {path}" for path in sorted(leaves - covered)]


def paths(values: dict, prefix: str = "") -> list[str]:
    """Every key with the keys above it: image, image.tag, …"""
    found = []
    for key, value in values.items():
        found.append(f"{prefix}{key}")
        if isinstance(value, dict):
            found += paths(value, f"{prefix}{key}.")
    return found


def rendered(chart: helm.Chart, values: dict) -> list[dict]:
    files = chart.render(values, name="demo", namespace="sync")
    texts = [text for name, text in files.items() if name.endswith(".yaml")]
    return [resource for text in texts for resource in yaml.safe_load_all(text) if resource]


def invalid(resources: list[dict]) -> list[str]:
    """What the schemas of Kubernetes say, with unknown fields as errors."""
    problems = []
    for resource in resources:
        if resource["kind"] in CUSTOM:
            continue
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(resource, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                problems.append(f"{resource['kind']}, Kubernetes {version}: {error}")
    return problems


def unexpected(resources: list[dict]) -> list[str]:
    """What no schema sees: the environment of the server as it should be."""
    [deployment] = [resource for resource in resources if resource["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    environment = {entry["name"]: entry.get("value") for entry in pod["containers"][0]["env"]}
    expected = {
        "DRIFTLESS_LISTEN": "0.0.0.0:8300",
        "DRIFTLESS_DATA": "/data",
        "DRIFTLESS_INSECURE_OPEN": "true",
        "DRIFTLESS_SHUTDOWN_TIMEOUT_MS": "15s",
        # From the secret.
        "DRIFTLESS_STORE": None,
        "DRIFTLESS_BUS": None,
        "DRIFTLESS_AUTH_SECRET": None,
        "DRIFTLESS_AUTH_HOOK_SECRET": None,
        "DRIFTLESS_PROXY_PROTOCOL_FROM": "192.0.2.0/24,2001:db8::/32",
        "DRIFTLESS_ALLOW_ORIGIN": "https://app.example.com,https://www.example.com",
        "DRIFTLESS_RELAY": "durable",
        "DRIFTLESS_CONNECTIONS_MAX": "1000000",
    }
    problems = []
    if environment != expected:
        problems.append(f"the environment is {environment}")
    if pod["terminationGracePeriodSeconds"] != 60:
        problems.append(f"the grace period is {pod['terminationGracePeriodSeconds']}")
    return problems


def accepts(chart: helm.Chart, values: dict) -> bool:
    try:
        # An install checks the schema before it renders.
        chart.validate_schema(values)
        chart.render(values, name="demo")
    except helm.HelmError:
        return False
    return True


if __name__ == "__main__":
    default = pathlib.Path(__file__).parent / "driftless"
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else str(default)))
