"""What a pod gets, what it keeps, and what is refused."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import kubernetes_validate
import pytest
from hypothesis import assume, given

from sidecar.application_probes import probes_of
from sidecar.kube.containers import RULES, SIDECAR, VOLUME
from sidecar.kube.injection import Injected, inject, is_injected, uninject
from sidecar.kube.options import RECORD, InjectionError, Options
from tests.kube.pods import OPTIONS, PODS, Pod, named, names, pod, tidy

BOTH_WAYS = Options(intercept_inbound=True, intercept_outbound=True)
INBOUND = Options(intercept_inbound=True)
AS_THEY_ARE = replace(INBOUND, rewrite_probes=False)


def injected_or_none(given: Pod, options: Options) -> Injected | None:
    """Return what became of a pod, None if it was refused or skipped."""
    try:
        done = inject(given, options)
    except InjectionError:
        return None
    return None if done.skipped else done


def rules_of(given: Pod, options: Options) -> list[str]:
    """Return the command line that writes the rules."""
    args = named(inject(given, options).template, RULES)["args"]
    assert isinstance(args, list)
    return args


def refusal_of(given: Any, options: Options | None = None) -> str:
    with pytest.raises(InjectionError) as refused:
        inject(given, options or Options())
    return str(refused.value)


def without_probes(item: Pod) -> Pod:
    return {key: value for key, value in item.items() if not key.endswith("Probe")}


@given(PODS, OPTIONS)
def test_twice_is_once(odd: Pod, options: Options) -> None:
    once = injected_or_none(odd, options)
    assume(once)
    assert once is not None
    assert inject(once.template, options).template == once.template


@given(PODS, OPTIONS, OPTIONS)
def test_other_options_replace_the_ones_before(
    odd: Pod, before: Options, after: Options
) -> None:
    once, fresh = injected_or_none(odd, before), injected_or_none(odd, after)
    assume(once and fresh)
    assert once is not None
    assert fresh is not None
    assert tidy(inject(once.template, after).template) == tidy(fresh.template)


@given(PODS, OPTIONS)
def test_the_way_back_leads_to_where_it_began(odd: Pod, options: Options) -> None:
    """But for empty lists and mappings, which mean the same as none."""
    done = injected_or_none(odd, options)
    assume(done)
    assert done is not None
    assert tidy(uninject(done.template)) == tidy(odd)


@given(PODS, OPTIONS)
def test_what_is_given_is_never_changed(odd: Pod, options: Options) -> None:
    before = copy.deepcopy(odd)
    done = injected_or_none(odd, options)
    uninject(done.template if done else odd)
    assert odd == before


@given(PODS, OPTIONS)
def test_what_the_pod_had_is_still_there(odd: Pod, options: Options) -> None:
    """Its containers and volumes as they were, and in their order.

    Probes too, or `uninject` would not find them (below).
    """
    done = injected_or_none(odd, options)
    assume(done)
    assert done is not None
    for key in ("initContainers", "containers", "volumes"):
        had = [without_probes(each) for each in odd["spec"].get(key) or []]
        has = [without_probes(each) for each in done.template["spec"].get(key) or []]
        assert [item for item in has if item in had] == had
        others = {item["name"] for item in has if item not in had}
        assert others <= {SIDECAR, RULES, VOLUME}
    rest = {"initContainers", "containers", "volumes"}
    for key in odd["spec"].keys() - rest:
        assert done.template["spec"][key] == odd["spec"][key]


@given(PODS, OPTIONS)
def test_a_pod_has_one_sidecar_or_a_reason(odd: Pod, options: Options) -> None:
    """Never both, and never neither."""
    try:
        done = inject(odd, options)
    except InjectionError:
        return  # The reason is in its words.
    assert is_injected(done.template) is not bool(done.skipped)
    if done.skipped:
        assert done.template == odd
        return
    every = [
        *names(done.template, "initContainers"),
        *names(done.template, "containers"),
    ]
    assert every.count(SIDECAR) == 1
    assert names(done.template, "volumes").count(VOLUME) == 1
    assert not odd["spec"].get("hostNetwork")


def test_a_native_sidecar_comes_before_the_others_after_the_rules() -> None:
    given = pod(initContainers=[{"name": "fetch"}])
    assert names(inject(given, BOTH_WAYS).template, "initContainers") == [
        RULES, SIDECAR, "fetch",
    ]  # fmt: skip


def test_without_a_native_one_nothing_is_intercepted_before_it_can_run() -> None:
    given = pod({"sidecar.316/native": "false"}, initContainers=[{"name": "fetch"}])
    done = inject(given, BOTH_WAYS).template
    assert names(done, "initContainers") == ["fetch", RULES]
    assert names(done, "containers") == [SIDECAR, "app"]
    assert "restartPolicy" not in named(done, SIDECAR)


def test_nobody_is_root_unless_interception_is_asked_for() -> None:
    done = inject(pod(), Options()).template
    assert names(done, "initContainers") == [SIDECAR]
    assert named(done, SIDECAR)["securityContext"]["runAsUser"] == 1337


@pytest.mark.parametrize("name", [SIDECAR, RULES])
def test_a_container_of_ours_has_no_right_it_does_not_need(name: str) -> None:
    context = named(inject(pod(), BOTH_WAYS).template, name)["securityContext"]
    kept = {"add": ["NET_ADMIN"]} if name == RULES else {}
    assert context["capabilities"] == {"drop": ["ALL"], **kept}
    assert context["runAsUser"] == (0 if name == RULES else 1337)
    assert context["runAsNonRoot"] is (name == SIDECAR)
    assert context["readOnlyRootFilesystem"]
    assert not context["allowPrivilegeEscalation"]
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(intercept_inbound=True), "--inbound"),
        (Options(intercept_outbound=True), "--no-inbound --outbound"),
        (BOTH_WAYS, "--inbound --outbound"),
    ],
)
def test_each_direction_is_asked_for_by_itself(options: Options, words: str) -> None:
    expected = f"iptables --apply --family 4 {words} --user 1337"
    assert " ".join(rules_of(pod(), options)) == expected


def test_what_is_excluded_of_a_direction_that_is_off_is_warned_of() -> None:
    """The command of the rules would refuse it."""
    given = pod(
        {
            "sidecar.316/intercept-inbound": "true",
            "sidecar.316/exclude-outbound-cidrs": "10.0.0.0/8",
        }
    )
    done = inject(given, Options())
    assert done.warnings == (
        "sidecar.316/exclude-outbound-cidrs has no effect without "
        "sidecar.316/intercept-outbound",
    )
    assert "10.0.0.0/8" not in named(done.template, RULES)["args"]


@pytest.mark.parametrize(
    ("probe", "excluded"),
    [
        ({"readinessProbe": {"httpGet": {"port": 8081}}}, "8081"),
        ({"livenessProbe": {"httpGet": {"port": "health"}}}, "9000"),
        ({"startupProbe": {"tcpSocket": {"port": "8082"}}}, "8082"),
        ({"livenessProbe": {"grpc": {"port": 8083}}}, "8083"),
        ({"lifecycle": {"preStop": {"httpGet": {"port": 8084}}}}, "8084"),
    ],
)
def test_the_kubelets_connections_are_not_intercepted(
    probe: dict[str, Any], excluded: str
) -> None:
    """Those of hooks and of gRPC never, other probes' where these stay as they are."""
    ports = [{"name": "health", "containerPort": 9000}]
    given = pod(containers=[{"name": "app", "ports": ports, **probe}])
    if "lifecycle" not in probe and "grpc" not in probe.get("livenessProbe", {}):
        assert "--exclude-inbound-ports" not in rules_of(given, INBOUND)
    else:
        assert rules_of(given, INBOUND) == rules_of(given, AS_THEY_ARE)
    words = rules_of(given, AS_THEY_ARE)
    assert words[words.index("--exclude-inbound-ports") + 1] == excluded


@pytest.mark.parametrize(
    "probe",
    [
        {"livenessProbe": {"exec": {"command": ["true"]}}},
        {"livenessProbe": {"httpGet": {"host": "other.example", "port": 80}}},
        {"livenessProbe": {"httpGet": {"port": "no-such-name"}}},
        {"livenessProbe": None},
    ],
)
def test_a_probe_that_does_not_connect_here_excludes_nothing(
    probe: dict[str, Any],
) -> None:
    given = pod(containers=[{"name": "app", **probe}])
    assert "--exclude-inbound-ports" not in rules_of(given, INBOUND)


def test_a_probe_on_the_port_of_the_service_is_warned_of() -> None:
    """For then nothing of that port is intercepted; unless the pod wants it."""
    container = {
        "name": "app",
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"port": 8080}},
    }
    (warning,) = inject(pod(containers=[container]), AS_THEY_ARE).warnings
    assert "port 8080" in warning
    annotations = {"sidecar.316/intercept-probe-ports": "true"}
    given = pod(annotations, containers=[container])
    assert inject(given, AS_THEY_ARE).warnings == ()
    assert "--exclude-inbound-ports" not in rules_of(given, AS_THEY_ARE)


def test_probes_are_asked_by_the_sidecar_that_knows_the_originals() -> None:
    container = {
        "name": "app",
        "ports": [{"name": "web", "containerPort": 8080}],
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": "web", "scheme": "HTTP"},
            "timeoutSeconds": 3,
            "periodSeconds": 5,
        },
        "livenessProbe": {"tcpSocket": {"port": 8080}},
        "startupProbe": {"httpGet": {"port": 8443, "scheme": "HTTPS"}},
    }
    given = pod(containers=[container])
    done = inject(given, INBOUND)
    assert done.warnings == ()
    assert "--exclude-inbound-ports" not in rules_of(given, INBOUND)
    app = named(done.template, "app")
    assert app["readinessProbe"] == {
        "httpGet": {"path": "/application/app/readinessProbe", "port": 15020},
        "timeoutSeconds": 3,
        "periodSeconds": 5,
    }
    asked = {"path": "/application/app/livenessProbe", "port": 15020}
    assert app["livenessProbe"] == {"httpGet": asked}
    asked = {"path": "/application/app/startupProbe", "port": 15020}
    assert app["startupProbe"] == {"httpGet": asked}
    (variable,) = named(done.template, SIDECAR)["env"]
    told = probes_of({variable["name"]: variable["value"]})
    assert len(told) == 3
    tls = told["app/startupProbe"].http_get
    assert tls is not None
    assert tls.scheme == "https"
    ready = told["app/readinessProbe"]
    assert (ready.port, ready.timeout_s) == (8080, 3)
    assert ready.http_get is not None
    assert ready.http_get.path == "/ready"
    assert told["app/livenessProbe"].http_get is None
    assert uninject(done.template) == tidy(given)


@pytest.mark.parametrize(
    "probe",
    [
        {"grpc": {"port": 8443}},
        {"httpGet": {"port": 80, "host": "other.example"}},
        {"httpGet": {"port": 80000}},
        {"exec": {"command": ["true"]}},
        {"httpGet": {"path": "/healthz/application", "port": 15020}},
    ],
)
def test_a_probe_that_the_sidecar_cannot_ask_stays(probe: dict[str, Any]) -> None:
    """Nor need it, where the kubelet asks the sidecar itself."""
    given = pod(containers=[{"name": "app", "livenessProbe": probe}])
    done = inject(given, INBOUND).template
    assert named(done, "app")["livenessProbe"] == probe
    assert "env" not in named(done, SIDECAR)


def test_a_probe_of_the_sidecar_excludes_no_port() -> None:
    probe = {"httpGet": {"path": "/healthz/application", "port": 15020}}
    given = pod(containers=[{"name": "app", "livenessProbe": probe}])
    assert "--exclude-inbound-ports" not in rules_of(given, INBOUND)
    assert uninject(inject(given, INBOUND).template) == tidy(given)


def test_a_grpc_probe_on_the_port_of_the_service_is_warned_of() -> None:
    """Through the proxy it would end at a limit, and the application with it."""
    container = {
        "name": "app",
        "ports": [{"containerPort": 8080}],
        "livenessProbe": {"grpc": {"port": 8080}},
    }
    (warning,) = inject(pod(containers=[container]), INBOUND).warnings
    assert "port 8080" in warning


def test_init_containers_that_run_before_the_sidecar_are_asked_by_the_kubelet() -> None:
    probe = {"tcpSocket": {"port": 8200}}
    theirs = {"name": "vault", "restartPolicy": "Always", "startupProbe": probe}
    given = pod(initContainers=[theirs])
    options = replace(INBOUND, native=False)
    done = inject(given, options).template
    assert named(done, "vault") == theirs
    words = rules_of(given, options)
    assert words[words.index("--exclude-inbound-ports") + 1] == "8200"
    native = inject(given, INBOUND).template
    assert "httpGet" in named(native, "vault")["startupProbe"]


def test_what_kubernetes_would_expand_in_a_probe_is_kept() -> None:
    """It makes $ of $$, and a value of $(NAME)."""
    get = {"path": "/$(HOME)/$$/$", "port": 80}
    given = pod(containers=[{"name": "app", "livenessProbe": {"httpGet": get}}])
    done = inject(given, INBOUND).template
    (variable,) = named(done, SIDECAR)["env"]
    assert "$" not in variable["value"].replace("$$", "")
    expanded = variable["value"].replace("$$", "$")
    told = probes_of({variable["name"]: expanded})["app/livenessProbe"]
    assert told.http_get is not None
    assert told.http_get.path == get["path"]
    assert uninject(done) == tidy(given)


def test_without_interception_probes_stay() -> None:
    probe = {"httpGet": {"port": 8080}}
    given = pod(containers=[{"name": "app", "livenessProbe": probe}])
    assert named(inject(given, Options()).template, "app")["livenessProbe"] == probe


def test_a_probe_that_was_written_anew_since_is_kept() -> None:
    given = pod(
        containers=[{"name": "app", "livenessProbe": {"tcpSocket": {"port": 1}}}]
    )
    done = inject(given, INBOUND).template
    named(done, "app")["livenessProbe"] = {"tcpSocket": {"port": 2}}
    bare = uninject(done)
    assert named(bare, "app")["livenessProbe"] == {"tcpSocket": {"port": 2}}


def test_annotations_for_prometheus_are_added_only_where_there_are_none() -> None:
    added = inject(pod(), Options()).template["metadata"]["annotations"]
    assert added["prometheus.io/port"] == "15020"
    done = inject(pod({"prometheus.io/port": "9102"}), Options())
    kept = done.template["metadata"]["annotations"]
    assert kept.keys() == {"prometheus.io/port", RECORD}
    assert kept["prometheus.io/port"] == "9102"
    assert "15020" in done.warnings[0]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (pod({"sidecar.316/inject": "false"}), "sidecar.316/inject is false"),
        (pod(hostNetwork=True), "those of the node"),
        (pod(os={"name": "windows"}), "Windows"),
    ],
)
def test_a_pod_that_is_better_left_alone_is(given: Pod, reason: str) -> None:
    done = inject(given, BOTH_WAYS)
    assert done.template == given
    assert reason in done.skipped


def test_opting_out_later_takes_the_sidecar_out() -> None:
    given = inject(pod({"team": "shop"}), Options()).template
    given["metadata"]["annotations"]["sidecar.316/inject"] = "false"
    done = inject(given, Options())
    assert done.skipped
    assert not is_injected(done.template)
    assert names(done.template, "initContainers") == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (pod(containers=[{"name": SIDECAR}]), f"a container is called {SIDECAR}"),
        (pod(initContainers=[{"name": RULES}]), f"a container is called {RULES}"),
        (pod(volumes=[{"name": VOLUME}]), f"a volume is called {VOLUME}"),
        (
            pod(containers=[{"name": "envoy", "ports": [{"containerPort": 15006}]}]),
            "container envoy has port 15006, which the sidecar needs (inbound)",
        ),
        (
            pod({"sidecar.316/native": "false"}, restartPolicy="Never"),
            "restartPolicy is Never",
        ),
        (
            pod(securityContext={"runAsUser": 1337}),
            "container app runs as user 1337, whose traffic is not intercepted",
        ),
        (pod({RECORD: "{"}), f"{RECORD}: cannot be read"),
        (pod({"sidecar.316/imgae": "x"}), "sidecar.316/imgae: is not known"),
    ],
)
def test_a_pod_that_it_would_not_work_in_is_refused(given: Pod, words: str) -> None:
    assert words in refusal_of(given, BOTH_WAYS)


@pytest.mark.parametrize(
    "given",
    [
        None, [], {}, {"spec": None}, {"spec": []}, {"spec": {"containers": []}},
        {"spec": {"containers": "app"}}, {"spec": {"containers": ["app"]}},
        {"spec": {"containers": [{"image": "x"}]}},
        {"spec": {"containers": [{"name": ["x"]}]}},
        {"spec": {"containers": [{"name": "x"}], "volumes": {}}},
        {"metadata": "x", "spec": {"containers": [{"name": "x"}]}},
        {"metadata": {"annotations": "x"}, "spec": {"containers": [{"name": "x"}]}},
        {"metadata": {"annotations": {1: ""}}, "spec": {"containers": [{"name": "x"}]}},
    ],
)  # fmt: skip
def test_what_is_no_pod_is_refused_in_words(given: Any) -> None:
    assert refusal_of(given)


@pytest.mark.parametrize("native", [True, False])
def test_a_pod_that_has_nothing_else_stays_valid(*, native: bool) -> None:
    options = Options(native=native, intercept_inbound=True, cpu_limit="1")
    done = inject(pod(), options).template
    whole = {"apiVersion": "v1", "kind": "Pod", **done}
    kubernetes_validate.validate(whole, "1.35", strict=True)
