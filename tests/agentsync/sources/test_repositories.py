"""Repository Secrets: which one opens a URL, and that none of them shows what it holds (gitops 14.1)."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from fairlead.agentsync.sources import SourceError, read_repositories

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nhush-hush\n-----END OPENSSH PRIVATE KEY-----\n"


def secret(name: str, kind: str = "repository", **data: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "argocd",
            "labels": {"argocd.argoproj.io/secret-type": kind},
        },
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


REGISTERED = read_repositories(
    [
        secret("all", url="https://host/shop/web.git", password="for-all"),
        secret("team", url="https://host/shop/web", project="team", username="t", password="for-team"),
        secret("bare", url="https://host/shop/bare", insecure="true", depth="3"),
        secret("wide", "repo-creds", url="https://host/", password="wide-open", proxy="http://p:9"),
        secret("narrow", "repo-creds", url="https://host/shop", bearerToken="narrow-token"),
        secret("ssh", "repo-creds", url="git@host:shop", sshPrivateKey=KEY),
        secret("other", "cluster", url="https://host/x", password="no"),
        {"metadata": {"name": "unlabelled"}, "data": {"url": "aHR0cHM6Ly9ob3N0L3k="}},
    ],
    known_hosts={"data": {"ssh_known_hosts": "host ssh-ed25519 AAAA\n"}},
    certificates={"data": {"Host": "PEM"}},
)


@pytest.mark.parametrize(
    ("url", "project", "password"),
    [
        pytest.param("https://host/shop/web", "team", "for-team", id="of-the-project"),
        pytest.param("https://HOST/Shop/Web.git", "other", "for-all", id="of-nobody"),
        pytest.param("https://host/shop/web", "", "for-all", id="no-project"),
        pytest.param("https://host/other", "", "wide-open", id="template"),
        pytest.param("https://elsewhere/web", "", "", id="none"),
    ],
)
def test_which_secret_is_chosen(url: str, project: str, password: str) -> None:
    assert REGISTERED.find(url, project=project).password == password


def test_the_longest_template_fits_and_keeps_the_repository_s_own_settings() -> None:
    found = REGISTERED.find("https://host/shop/bare")
    assert (found.bearer_token, found.password, found.insecure, found.depth, found.proxy) == (
        "narrow-token",
        "",
        True,
        3,
        "",
    )


def test_trust_comes_with_the_kind_of_url() -> None:
    assert REGISTERED.find("https://host/shop/web").certificate_authorities == "PEM"
    found = REGISTERED.find("ssh://git@host/shop/web")
    assert (found.ssh_known_hosts, found.ssh_private_key) == ("host ssh-ed25519 AAAA\n", KEY)
    assert not found.certificate_authorities


def test_nothing_shows_what_it_holds() -> None:
    text = repr(REGISTERED)
    for hidden in ("for-all", "for-team", "narrow-token", "hush", "wide-open"):
        assert hidden not in text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param({"insecure": "maybe"}, "data.insecure is 'maybe': expected true or false", id="flag"),
        pytest.param({"depth": "-1"}, "data.depth is '-1': expected a number of commits", id="depth"),
        pytest.param({"type": "svn"}, "data.type is 'svn': expected git, helm or oci", id="type"),
        pytest.param({"password": "a\nb"}, "the repository's password has a line break in it", id="line-break"),
        pytest.param({"proxy": "me:hush"}, "data.proxy: expected a URL of http, https or socks5", id="proxy"),
        pytest.param({"githubAppPrivateKey": "hush"}, "data.githubAppID is '': expected a number", id="github-app"),
        pytest.param({"gcpServiceAccountKey": "hush"}, "a Google service account are not supported", id="google"),
        pytest.param({"useAzureWorkloadIdentity": "true"}, "an Azure workload identity are not supported", id="azure"),
        pytest.param(
            {"azureServicePrincipalClientID": "x"}, "an Azure service principal are not", id="azure-principal"
        ),
    ],
)
def test_a_bad_secret_spoils_only_itself(data: dict[str, str], message: str) -> None:
    found = read_repositories(
        [secret("bad", url="https://host/bad", **data), secret("good", url="https://host/good", password="x")]
    )
    assert found.find("https://host/good").password == "x"
    with pytest.raises(SourceError, match=rf"^repository Secret argocd/bad: .*{message}") as error:
        found.find("https://host/bad")
    assert len(found.problems()) == 1 and "hush" not in found.problems()[0] + str(error.value)


def test_a_password_beats_what_is_not_built() -> None:
    found = read_repositories([secret("a", url="https://host/a", password="x", gcpServiceAccountKey="y")])
    assert found.find("https://host/a").password == "x"


def test_secrets_without_a_url_or_of_odd_bytes_are_told_and_fit_nothing() -> None:
    odd = secret("odd", url="https://host/odd")
    odd["data"]["password"] = "***"
    found = read_repositories([secret("empty"), odd, secret("dash", url="-x")])
    assert found.problems() == (
        "Secret argocd/dash: repoURL starts with '-' or has a blank, a control character or a backslash in it",
        "Secret argocd/empty: data.url is missing: expected the URL of a repository",
        "Secret argocd/odd: data.password is no base64 of UTF-8 text",
    )
    assert not found.find("https://host/anything").has_credentials


def test_credentials_of_a_url_are_taken_out_of_it() -> None:
    found = read_repositories([secret("a", url="https://me:hush@host/a")])
    assert found.find("https://host/a").password == "hush"
    assert "hush" not in repr(found)


def test_a_github_app_is_read_and_not_shown() -> None:
    app = {
        "githubAppID": "1",
        "githubAppInstallationID": "2",
        "githubAppPrivateKey": "hush",
        "githubAppEnterpriseBaseUrl": "https://ghe/api/v3",
    }
    access = read_repositories([secret("a", "repo-creds", url="https://host", **app)]).find("https://host/a")
    assert access.github_app is not None and access.has_credentials
    assert (access.github_app.app_id, access.github_app.installation_id) == ("1", "2")
    assert access.github_app.base_url == "https://ghe/api/v3"
    assert "hush" not in repr(access)
    other = read_repositories([secret("a", url="https://host/a", **(app | {"githubAppPrivateKey": "other"}))])
    assert other.find("https://host/a").fingerprint() != access.fingerprint()


def test_t31_plain_data_beats_encoded_data_and_line_breaks_in_it_do_not_count() -> None:
    entry = secret("a", url="https://host/a", username="encoded", password="encoded")
    entry["data"]["username"] = "ZW5j\nb2Rl\n ZA=="
    entry["stringData"] = {"password": "plain"}
    found = read_repositories([entry]).find("https://host/a")
    assert (found.username, found.password) == ("encoded", "plain")
