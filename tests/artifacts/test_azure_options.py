"""What the URI and the environment say about a container of Azure, and how requests are signed."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64encode

import pytest

from holdall.artifacts.azure.options import AzureOptions
from holdall.artifacts.service import Request
from holdall.stores import InvalidParameterValue, StoreURI, open_artifact_store

pytestmark = pytest.mark.extras

URI = "wasbs://box@acct.blob.core.windows.net/prefix"
KEY = b64encode(b"secret").decode()
SAS = "sv=2021-12-02&se=2031-01-01T00%3A00%3A00Z&sp=rl&sig=top%2Fsecret%3D"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONNECTION_STRING", "ACCOUNT", "ACCESS_KEY", "SAS_TOKEN"):
        monkeypatch.delenv(f"AZURE_STORAGE_{name}", raising=False)


def parse(uri: str) -> AzureOptions:
    return AzureOptions.parse(StoreURI.parse(uri))


class TestPlaces:
    @pytest.mark.parametrize(
        ("uri", "endpoint"),
        [
            ("wasbs://box@acct.blob.core.windows.net/p", "https://acct.blob.core.windows.net"),
            ("wasb://box@acct.blob.core.windows.net", "https://acct.blob.core.windows.net"),
            ("abfss://box@acct.dfs.core.windows.net/p", "https://acct.blob.core.windows.net"),
            ("abfs://box@acct.dfs.core.chinacloudapi.cn", "https://acct.blob.core.chinacloudapi.cn"),
            ("abfss://box@acct.z01.dfs.storage.azure.net", "https://acct.z01.blob.storage.azure.net"),
            ("wasbs://box@acct.blob.internal:8443/p", "https://acct.blob.internal:8443"),
        ],
    )
    def test_parse_host_gives_blob_endpoint_of_its_cloud(self, uri: str, endpoint: str) -> None:
        options = parse(uri)
        assert (options.account, options.container, options.endpoint) == ("acct", "box", endpoint)

    def test_parse_dfs_in_account_name_keeps_it(self) -> None:
        assert parse("abfss://box@dfs.dfs.core.windows.net").endpoint == "https://dfs.blob.core.windows.net"

    @pytest.mark.parametrize(
        "uri",
        [
            "wasbs://acct.blob.core.windows.net/p",
            "wasbs://box@/p",
            "wasbs://box:secret@acct.blob.core.windows.net",
            "wasbs://..@acct.blob.core.windows.net",
            "wasbs://a%2Fb@acct.blob.core.windows.net",
        ],
    )
    def test_parse_uri_without_container_and_account_is_refused(self, uri: str) -> None:
        with pytest.raises(InvalidParameterValue, match=r"container@account") as caught:
            parse(uri)
        assert "secret" not in str(caught.value)

    def test_parse_endpoint_option_wins(self) -> None:
        options = parse(f"{URI}?endpoint_url=http://127.0.0.1:1/acct/&public_endpoint_url=https://public")
        assert options.endpoint == "http://127.0.0.1:1/acct"
        assert options.public_endpoint == "https://public"
        assert parse(URI).public_endpoint == "https://acct.blob.core.windows.net"

    @pytest.mark.parametrize("url", ["ftp://h", "https://h/a?sig=secret", "https://user:secret@h", "h:1", "http://"])
    def test_parse_endpoint_that_is_no_plain_url_is_refused(self, url: str) -> None:
        query = StoreURI("wasbs", username="box", host="acct", query=(("endpoint_url", url),))
        with pytest.raises(InvalidParameterValue, match="endpoint") as caught:
            AzureOptions.parse(query)
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize("option", ["timeout=soon", "patience=-1", "timeout=1e9", "anonymous=1", "colour=red"])
    def test_parse_malformed_or_unknown_option_is_refused(self, option: str) -> None:
        with pytest.raises(InvalidParameterValue, match=option.partition("=")[0]):
            parse(f"{URI}?{option}")

    @pytest.mark.parametrize(
        ("option", "verify"), [("", True), ("?verify=true", True), ("?verify=false", False), ("?verify=/ca", "/ca")]
    )
    def test_parse_verify_is_flag_or_file(self, option: str, verify: bool | str) -> None:
        assert parse(URI + option).verify == verify


class TestCredentials:
    def test_choose_signer_by_what_is_named(self) -> None:
        from holdall.artifacts.azure.signing import AnonymousSigner, SasSigner, SharedKeySigner, TokenSigner, new_signer

        assert isinstance(new_signer(parse(f"{URI}?account_key={KEY}")), SharedKeySigner)
        assert isinstance(new_signer(parse(f"{URI}?sas_token=%3Fsig%3Dx")), SasSigner)
        assert isinstance(new_signer(parse(f"{URI}?anonymous=true")), AnonymousSigner)
        assert isinstance(new_signer(parse(URI)), TokenSigner)

    def test_name_two_credentials_is_refused(self) -> None:
        with pytest.raises(InvalidParameterValue, match="account_key and anonymous"):
            parse(f"{URI}?account_key={KEY}&anonymous=true")
        assert parse(f"{URI}?account_key={KEY}&anonymous=false").account_key == KEY

    def test_connection_string_gives_key_and_endpoint(self, monkeypatch: pytest.MonkeyPatch) -> None:
        text = f"DefaultEndpointsProtocol=http;AccountName=acct;AccountKey={KEY};BlobEndpoint=http://h:1/acct/;"
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
        monkeypatch.setenv("AZURE_STORAGE_ACCESS_KEY", "another")
        options = parse(URI)
        assert (options.account_key, options.endpoint) == (KEY, "http://h:1/acct")
        named = parse(f"{URI}?sas_token=sig%3Dx")
        assert (named.account_key, named.sas_token, named.endpoint) == (None, "sig=x", "http://h:1/acct")
        assert parse(f"{URI}?anonymous=true").account_key is None

    def test_connection_string_with_signature_names_its_account_by_endpoint(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = f"BlobEndpoint=https://acct.blob.core.windows.net/;SharedAccessSignature={SAS}"
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
        assert parse(URI).sas_token == SAS
        assert parse(URI.replace("acct", "other")).sas_token is None

    def test_connection_string_of_other_account_is_not_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        text = f"AccountName=other;AccountKey={KEY};BlobEndpoint=http://h:1/other"
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
        options = parse(URI)
        assert (options.account_key, options.endpoint) == (None, "https://acct.blob.core.windows.net")
        monkeypatch.setenv("AZURE_STORAGE_ACCESS_KEY", "a2V5")
        assert parse(URI).account_key == "a2V5"

    def test_malformed_connection_string_is_refused_without_telling_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountName=acct;topsecret")
        with pytest.raises(InvalidParameterValue, match="AZURE_STORAGE_CONNECTION_STRING") as caught:
            parse(URI)
        assert "topsecret" not in str(caught.value)

    def test_variables_are_used_for_the_account_they_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", f"?{SAS}")
        assert parse(URI).sas_token == SAS
        monkeypatch.setenv("AZURE_STORAGE_ACCESS_KEY", KEY)
        assert (parse(URI).account_key, parse(URI).sas_token) == (KEY, None)
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "other")
        assert (parse(URI).account_key, parse(URI).sas_token) == (None, None)

    def test_malformed_key_or_token_is_refused_without_telling_it(self) -> None:
        for option, secret in (("account_key", "not*base64"), ("sas_token", "sv%3D1")):
            with pytest.raises(InvalidParameterValue) as caught:
                open_artifact_store(f"{URI}?{option}={secret}")
            assert "not*" not in str(caught.value)
            assert "sv=1" not in str(caught.value)

    def test_sign_in_over_unencrypted_endpoint_is_refused(self) -> None:
        with pytest.raises(InvalidParameterValue, match="without encryption"):
            open_artifact_store(f"{URI}?endpoint_url=http://127.0.0.1:1/acct")

    def test_show_store_or_options_hides_secrets(self) -> None:
        for option, secret in (("account_key", KEY), ("sas_token", "sig%3Dtopsecret")):
            with open_artifact_store(f"{URI}?{option}={secret}") as store:
                for shown in (str(store.uri), repr(store.uri), repr(store), repr(AzureOptions.parse(store.uri))):
                    assert secret not in shown
                    assert "topsecret" not in shown

    @pytest.mark.parametrize(
        ("option", "able"),
        [("account_key=c2VjcmV0", True), ("sas_token=sig%3Dx", False), ("anonymous=true", False), ("", True)],
    )
    def test_presigning_takes_key_or_sign_in(self, option: str, able: bool) -> None:
        with open_artifact_store(f"{URI}?{option}" if option else URI) as store:
            assert (store.capabilities.presigned_urls, store.capabilities.multipart) == (able, able)


class TestSharedKey:
    def test_sign_example_of_the_documentation_gives_its_text(self) -> None:
        from holdall.artifacts.azure.signing import string_to_sign

        request = Request("GET", "/mycontainer", {"restype": "container", "comp": "metadata", "timeout": "20"})
        headers = {"x-ms-version": "2015-02-21", "x-ms-date": "Fri, 26 Jun 2015 23:39:12 GMT"}
        assert string_to_sign("myaccount", request, headers) == (
            "GET" + "\n" * 12 + "x-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n"
            "/myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20"
        )

    def test_sign_body_tells_its_length_and_no_body_tells_none(self) -> None:
        from holdall.artifacts.azure.signing import string_to_sign

        headers = {"content-md5": "abc=", "content-type": "text/plain", "x-ms-a": "1  2"}
        for body, length in ((b"12345", "5"), (b"", ""), (None, "")):
            text = string_to_sign("a", Request("PUT", "/a/c/b", {}, {}, body), headers)
            assert text == f"PUT\n\n\n{length}\nabc=\ntext/plain\n\n\n\n\n\n\nx-ms-a:1 2\n/a/a/c/b"

    def test_sign_query_signs_values_as_they_are_and_sends_them_encoded(self) -> None:
        from holdall.artifacts.azure.signing import SharedKeySigner, string_to_sign

        request = Request("GET", "/c", {"prefix": "a b/ü&=%", "comp": "list"})
        target, headers = SharedKeySigner("acct", KEY).sign(request, "host")
        assert target == "/c?prefix=a%20b%2F%C3%BC%26%3D%25&comp=list"
        assert string_to_sign("acct", request, headers).endswith("\ncomp:list\nprefix:a b/ü&=%")
        assert headers["authorization"].startswith("SharedKey acct:")

    def test_add_token_keeps_its_encoding(self) -> None:
        from holdall.artifacts.azure.signing import SasSigner

        signer = SasSigner(SAS)
        assert signer.sign(Request("GET", "/c/b"), "h")[0] == f"/c/b?{SAS}"
        assert signer.sign(Request("GET", "/c", {"comp": "list"}), "h")[0] == f"/c?comp=list&{SAS}"

    @pytest.mark.parametrize("expiry", ["2020-01-01T00:00:00Z", "2020-01-01", "2020-01-01T00:00Z"])
    def test_advise_about_expired_token_says_so(self, expiry: str) -> None:
        from holdall.artifacts.azure.signing import SasSigner

        assert f"expired at {expiry}" in SasSigner(f"se={expiry}&sig=x").advice()
        assert "expired" not in SasSigner(SAS).advice()
        assert "expired" not in SasSigner("se=some+day&sig=x").advice()


def test_open_store_without_extra_names_it() -> None:
    program = """
import sys
sys.modules["azure"] = None
from holdall.stores import MissingExtra, open_artifact_store
try:
    open_artifact_store("abfss://box@acct.dfs.core.windows.net")
except MissingExtra as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert "pip install 'holdall[azure]'" in done.stdout


def test_open_store_loads_no_client_library() -> None:
    program = f"""
import sys
from holdall.stores import open_artifact_store
open_artifact_store("{URI}?account_key={KEY}").close()
print(sorted(name for name in sys.modules if name in ("azure.storage.blob", "azure.identity", "requests", "msal")))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
