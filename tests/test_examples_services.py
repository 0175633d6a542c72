"""The examples of services that nobody can change, with the gateway in front of them: nginx's DAV module and json-server."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import needs
from started import GATEWAY, PATIENCE, ROOT, Service, serving

# ------------------------------------------------------------------------------------------------- nginx's DAV module
FOLDER = {"GET", "HEAD", "OPTIONS", "DELETE", "COPY", "LOCK", "MKCOL", "MOVE", "PROPFIND", "UNLOCK"}
OWNER = "<D:href>http://example.org/~ada</D:href>"
LOCK = (
    '<?xml version="1.0" encoding="utf-8"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    f"<D:locktype><D:write/></D:locktype><D:owner>{OWNER}</D:owner></D:lockinfo>"
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that nginx serves."""
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def dav(root: Path) -> Iterator[Service]:
    needs("nginx")
    with serving("examples.nginx_dav", f"--files={root}", "--port=0", "--upstream-port=0", until=GATEWAY) as service:
        yield service


def test_nginx_alone_keeps_fewer_promises(dav: Service, root: Path) -> None:
    """What the tests below ask for is not what it does without the gateway."""
    (root / "alone").mkdir()
    refused = dav.bare.ask("PUT", "/alone/", "text")
    assert (refused.status, refused.allow) == (409, set())
    twice = [dav.bare.ask("PUT", "/alone/twice.txt", "text").status for _ in range(2)]
    assert twice == [201, 204]
    assert (dav.bare.ask("PATCH", "/alone/twice.txt", "x").allow, dav.bare.ask("POST", "/alone/twice.txt").allow) == (
        set(),
        set(),
    )


def test_a_folder_cannot_be_replaced(dav: Service, root: Path) -> None:
    """PUT on a folder, the root included, is 405 with all that a folder takes; nginx does not hear of it."""
    (root / "kept").mkdir()
    for path in ("/kept/", "/kept/below/", "/", "/%6bept/", "//kept/"):
        answer = dav.ask("PUT", path, "text")
        assert (answer.status, answer.data["rule"], answer.allow) == (405, "put-no-collection", FOLDER), path
    assert list((root / "kept").iterdir()) == []


def test_a_405_of_nginx_says_what_is_allowed(dav: Service) -> None:
    """It refuses POST and PATCH on a file without Allow; the policies know better."""
    dav.ask("PUT", "/allow.txt", "text")
    for method in ("POST", "PATCH"):
        answer = dav.ask(method, "/allow.txt", "x")
        assert (answer.status, answer.allow) == (405, (FOLDER | {"PUT"}))
    options = dav.ask("OPTIONS", "/allow.txt")
    assert (options.status, options.allow) == (200, FOLDER | {"PUT"})
    assert {part.strip() for part in options.headers["dav"].split(",")} == {"1", "2"}


def test_a_file_sent_twice_is_written_once(dav: Service, root: Path) -> None:
    """The second PUT gets the first answer, 201 with a Location that is not the service's own name; A-B-A ends at A."""
    first, second = (dav.ask("PUT", "/twice.txt", "a") for _ in range(2))
    assert (first.status, second.status, first.replayed, second.replayed) == (201, 201, False, True)
    assert first.headers["location"] == second.headers["location"] == "/twice.txt"
    others = [dav.ask("PUT", "/twice.txt", text) for text in ("b", "a")]
    assert [(answer.status, answer.replayed) for answer in others] == [(204, False), (204, False)]
    assert (root / "twice.txt").read_text() == "a"


def test_what_others_write_is_seen(dav: Service, root: Path) -> None:
    """A file that was changed past the gateway is written again, though nothing came by that could have aged the answer."""
    for _ in range(2):
        answer = dav.ask("PUT", "/shared.txt", "mine")
    assert answer.replayed
    (root / "shared.txt").write_text("somebody else's")
    assert not dav.ask("PUT", "/shared.txt", "mine").replayed
    assert (root / "shared.txt").read_text() == "mine"


def test_an_update_is_not_lost(dav: Service, root: Path) -> None:
    """nginx does not look at If-Match and If-None-Match. The gateway compares them with the ETag of the content: nginx's own is
    made of a second and a length, which another content may share, also one whose time was set back."""
    dav.ask("PUT", "/compared.txt", "first")
    fresh = dav.ask("GET", "/compared.txt").headers["etag"]
    assert dav.bare.ask("GET", "/compared.txt").headers["etag"] != fresh
    assert dav.ask("PUT", "/compared.txt", "FIRST", if_match=fresh).status == 204
    assert dav.ask("PUT", "/compared.txt", "first", if_match=fresh).status == 412
    os.utime(root / "compared.txt", (1_000_000_000, 1_000_000_000))
    own, tag = (each.ask("GET", "/compared.txt").headers["etag"] for each in (dav.bare, dav))
    (root / "compared.txt").write_text("fIrSt")
    os.utime(root / "compared.txt", (1_000_000_000, 1_000_000_000))
    assert dav.bare.ask("GET", "/compared.txt").headers["etag"] == own
    assert [dav.ask("PUT", "/compared.txt", "lost", if_match=each).status for each in (own, tag)] == [412, 412]
    tag = dav.ask("GET", "/compared.txt").headers["etag"]
    assert dav.ask("PUT", "/compared.txt", "second", if_match=tag).status == 204
    late = dav.ask("PUT", "/compared.txt", "third, too late", if_match=tag)
    assert (late.status, late.data["rule"], (root / "compared.txt").read_text()) == (412, "if-match-evaluated", "second")
    assert dav.ask("DELETE", "/compared.txt", if_match=tag).status == 412
    assert dav.ask("PUT", "/compared.txt", "new", if_none_match="*").status == 412
    assert dav.ask("PUT", "/created.txt", "new", if_none_match="*").status == 201
    assert dav.bare.ask("PUT", "/compared.txt", "third", if_match=tag).status == 204  # without the gateway


def test_a_key_is_honoured(dav: Service, root: Path) -> None:
    """With a key the first answer comes back although the file has changed since; another file with the same key is 422."""
    first = dav.ask("PUT", "/keyed.txt", "a", idempotency_key='"k"')
    dav.ask("PUT", "/keyed.txt", "b")
    again = dav.ask("PUT", "/keyed.txt", "a", idempotency_key='"k"')
    assert (first.status, again.status, again.replayed) == (201, 201, True)
    assert (root / "keyed.txt").read_text() == "b"
    assert dav.ask("PUT", "/keyed.txt", "c", idempotency_key='"k"').status == 422


MOVES = [
    # whole URL, path alone
    lambda dav, path: f"http://127.0.0.1:{dav.port}{path}",
    lambda dav, path: path,
]


@pytest.mark.parametrize("named", MOVES, ids=["URL", "path"])
@pytest.mark.parametrize("method", ["MOVE", "COPY"])
def test_what_lands_on_a_file_is_not_hidden(dav: Service, root: Path, method: str, named: object) -> None:
    """After another file was moved or copied to it, a PUT that is repeated is written again."""
    assert callable(named)
    for path in ("/target.txt", "/other.txt"):
        dav.ask("DELETE", path)
    dav.ask("PUT", "/other.txt", "other")
    assert dav.ask("PUT", "/target.txt", "mine").status == 201
    assert dav.ask("PUT", "/target.txt", "mine").replayed
    assert dav.ask(method, "/other.txt", destination=named(dav, "/target.txt")).status == 204
    assert (root / "target.txt").read_text() == "other"
    again = dav.ask("PUT", "/target.txt", "mine")
    assert (again.status, again.replayed, (root / "target.txt").read_text()) == (204, False, "mine")
    assert (root / "other.txt").exists() is (method == "COPY")


def test_a_folder_takes_what_is_below_it_along(dav: Service, root: Path) -> None:
    """After MOVE or DELETE of a folder nothing that was in it is answered from the store."""
    for path in ("/one/", "/two/"):
        assert dav.ask("MKCOL", path).status == 201
        assert dav.ask("PUT", f"{path}file.txt", path).status == 201
    gone = dav.ask("MOVE", "/one/", destination="/three/", depth="infinity")
    assert gone.status == 201
    assert dav.ask("DELETE", "/two/", depth="infinity").status == 204
    for path in ("/one/", "/two/"):  # whose folder is not there; RFC 4918 9.7.1 asks for 409, and nginx says 500
        lost, bare = dav.ask("PUT", f"{path}file.txt", path), dav.bare.ask("PUT", f"{path}file.txt", path)
        assert (lost.status, lost.replayed) == (bare.status, False)
        assert lost.status in (409, 500)
    assert (root / "three" / "file.txt").read_text() == "/one/"


def test_a_destination_elsewhere_is_refused_by_nginx(dav: Service) -> None:
    """A name that is not the gateway's stays as it is, and the service says what it says."""
    dav.ask("PUT", "/stays.txt", "x")
    for service in (dav, dav.bare):
        assert service.ask("MOVE", "/stays.txt", destination="http://elsewhere.test/x.txt").status == 400
    assert dav.ask("GET", "/stays.txt").content == b"x"


def test_locks_are_the_services_own(dav: Service, root: Path) -> None:
    """423 passes; with its token a client writes, and twice means twice: nobody knows what became of the lock in between."""
    dav.ask("PUT", "/locked.txt", "a")
    lock = dav.ask("LOCK", "/locked.txt", LOCK, timeout="Second-60")
    assert lock.status == 200
    token = lock.headers["lock-token"]
    refused = dav.ask("PUT", "/locked.txt", "b")
    assert (refused.status, refused.replayed) == (423, False)
    writes = [dav.ask("PUT", "/locked.txt", "c", **{"if": f"({token})"}) for _ in range(2)]
    assert [(answer.status, answer.replayed) for answer in writes] == [(204, False), (204, False)]
    named = f"<http://127.0.0.1:{dav.port}/locked.txt> ({token})"
    assert dav.ask("PUT", "/locked.txt", "d", **{"if": named}).status == 204
    assert dav.ask("UNLOCK", "/locked.txt", lock_token=token).status == 204
    assert (dav.ask("PUT", "/locked.txt", "b").status, (root / "locked.txt").read_text()) == (204, "b")


def test_propfind_is_passed_on_as_it_is(dav: Service, root: Path) -> None:
    """207 and its document, byte for byte; nothing is claimed for it, with a key or without, and nothing grows old."""
    (root / "found").mkdir()
    dav.ask("PUT", "/found/a.txt", "a")
    answers = [service.ask("PROPFIND", "/found/", depth="1", idempotency_key='"p"') for service in (dav, dav.bare, dav)]
    assert {answer.status for answer in answers} == {207}
    assert len({answer.content for answer in answers}) == 1
    assert re.findall(rb"<D:href>(.*?)</D:href>", answers[0].content) == [b"/found/", b"/found/a.txt"]
    assert not any(answer.replayed for answer in answers)
    assert dav.ask("PUT", "/found/a.txt", "a").replayed


@pytest.fixture(scope="module")
def unverified(dav: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A second gateway in front of the same nginx, which never looks whether a file is as it was."""
    config = tmp_path_factory.mktemp("config") / "verbguard.toml"
    lines = (ROOT / "examples" / "nginx_dav" / "verbguard.toml").read_text("utf-8").splitlines()
    config.write_text("\n".join(line for line in lines if not line.startswith(("preconditions", "replay"))), "utf-8")
    upstream = f"--upstream=http://127.0.0.1:{dav.upstream}"
    with serving("verbguard", "serve", upstream, f"--config={config}", "--port=0", until=GATEWAY) as service:
        yield service


NAMES = ("/walk/x.txt", "/walk/d/x.txt", "/walk/e/x.txt")
FOLDERS = ("/walk/d/", "/walk/e/")


def spelled(dav: Service, path: str, chance: random.Random) -> str:
    """A Destination in one of the ways in which clients write it."""
    odd = path.replace("x", "%78") if chance.random() < 0.3 else path
    return odd if chance.random() < 0.3 else f"http://127.0.0.1:{dav.port}{odd}"


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_a_put_that_succeeds_is_there(unverified: Service, root: Path, seed: int) -> None:
    """Files and folders are written, moved, copied and removed at random; after each 2xx to a PUT the file is what was sent.

    That nothing old is repeated rests on what the gateway knows of the requests.
    """
    dav, chance = unverified, random.Random(seed)
    dav.ask("DELETE", "/walk/")
    assert dav.ask("MKCOL", "/walk/").status == 201
    replayed = 0
    for _ in range(250):
        what = chance.choice(("PUT", "PUT", "PUT", "DELETE", "MOVE", "COPY", "MKCOL", "MKCOL", "folder", "folder"))
        name = chance.choice(NAMES)
        if what == "PUT":
            text = chance.choice(("one", "two"))
            answer = dav.ask("PUT", name, text)
            replayed += answer.replayed
            if answer.status < 300:
                file = root / name[1:]
                assert file.exists() and file.read_text() == text, answer
        elif what in ("MOVE", "COPY"):
            dav.ask(what, name, destination=spelled(dav, chance.choice(NAMES), chance))
        elif what == "folder":
            source, target = chance.sample(FOLDERS, 2)
            dav.ask(chance.choice(("MOVE", "COPY")), source, destination=spelled(dav, target, chance))
        else:
            dav.ask(what, name if what == "DELETE" and chance.random() < 0.7 else chance.choice(FOLDERS))
    assert replayed  # or nothing was tried


# -------------------------------------------------------------------------------------------------------- json-server
POST = {"title": "On PUT", "author": "bob"}
CHANGED = {"title": "On PUT, again", "author": "bob"}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("json") / "db.json"


@pytest.fixture(scope="module")
def blog(database: Path) -> Iterator[Service]:
    needs("json-server")
    with serving("examples.json_server", f"--db={database}", "--port=0", "--upstream-port=0", until=GATEWAY) as service:
        yield service


def test_json_server_alone_keeps_fewer_promises(blog: Service) -> None:
    """What the tests below ask for is not what it does without the gateway."""
    assert blog.bare.ask("PUT", "/posts", []).status == 404
    posts = [blog.bare.ask("POST", "/posts", POST, idempotency_key='"alone"').data["id"] for _ in range(2)]
    assert posts[0] != posts[1]
    assert blog.bare.ask("OPTIONS", "/posts").allow == set()


def test_the_list_of_posts_cannot_be_replaced(blog: Service) -> None:
    """PUT on a collection is 405 with what it takes, under each spelling that express folds into it."""
    before = blog.ask("GET", "/posts").data
    for path in ("/posts", "/posts/", "/p%6fsts", "/posts?x=1"):
        answer = blog.ask("PUT", path, [])
        assert (answer.status, answer.data["rule"], answer.allow) == (
            405,
            "put-no-collection",
            {"GET", "HEAD", "POST", "OPTIONS"},
        )
    assert blog.ask("GET", "/posts").data == before


def test_a_new_post_says_where_it_is(blog: Service) -> None:
    """201 with Location by the public name; with a key a POST that is sent twice makes one post."""
    first, second = (blog.ask("POST", "/posts", POST, idempotency_key='"post"') for _ in range(2))
    assert (first.status, second.status, first.replayed, second.replayed) == (201, 201, False, True)
    place = f"http://127.0.0.1:{blog.port}/posts/{first.data['id']}"
    assert first.headers["location"] == second.headers["location"] == place
    assert first.content == second.content
    assert blog.ask("GET", place.partition(str(blog.port))[2]).data == {**POST, "id": first.data["id"]}
    assert [post["id"] for post in blog.ask("GET", "/posts").data].count(first.data["id"]) == 1
    assert blog.ask("POST", "/posts", CHANGED, idempotency_key='"post"').status == 422
    assert blog.ask("POST", "/posts", POST).data["id"] != blog.ask("POST", "/posts", POST).data["id"]


def test_a_change_sent_twice_is_made_once(blog: Service) -> None:
    """A repeated PUT is answered from the store until somebody changes the post; what stays is the last change."""
    path = f"/posts/{blog.ask('POST', '/posts', POST).data['id']}"
    answers = [blog.ask("PUT", path, CHANGED) for _ in range(3)]
    assert [(answer.status, answer.replayed) for answer in answers] == [(200, False), (200, True), (200, True)]
    assert len({answer.content for answer in answers}) == 1
    assert blog.ask("PATCH", path, {"title": "Patched"}).status == 200
    last = blog.ask("PUT", path, CHANGED)
    assert (last.status, last.replayed) == (200, False)
    assert blog.bare.ask("GET", path).data["title"] == CHANGED["title"]


def test_a_post_is_not_overwritten_unseen(blog: Service) -> None:
    """json-server's ETags are weak, and it looks at none; the gateway's are strong, and 412 where they are old."""
    path = f"/posts/{blog.ask('POST', '/posts', POST).data['id']}"
    assert blog.bare.ask("GET", path).headers["etag"].startswith("W/")
    tag = blog.ask("GET", path).headers["etag"]
    assert tag.startswith('"')
    assert blog.ask("GET", path, if_none_match=tag).status == 304
    assert blog.ask("PUT", path, CHANGED, if_match=tag).status == 200
    for method in ("PUT", "PATCH", "DELETE"):
        assert blog.ask(method, path, None if method == "DELETE" else POST, if_match=tag).status == 412
    assert blog.bare.ask("GET", path).data["title"] == CHANGED["title"]
    assert blog.bare.ask("PUT", path, POST, if_match=tag).status == 200  # without the gateway


def test_a_singleton_is_replaced(blog: Service) -> None:
    """PUT on /profile is its own affair, and repeated it is answered from the store."""
    answers = [blog.ask("PUT", "/profile", {"name": "verbs"}) for _ in range(2)]
    assert [(answer.status, answer.replayed) for answer in answers] == [(200, False), (200, True)]
    assert blog.ask("GET", "/profile").data == {"name": "verbs"}


def test_what_is_not_there_is_not_there(blog: Service) -> None:
    """PUT, GET and DELETE of an unknown post are json-server's 404, each time anew."""
    for method in ("GET", "PUT", "PUT", "DELETE"):
        answer = blog.ask(method, "/posts/9999", CHANGED if method == "PUT" else None)
        assert (answer.status, answer.content, answer.replayed) == (404, b"{}", False)
    assert blog.ask("GET", "/nowhere").status == 404


def test_options_and_head(blog: Service) -> None:
    """OPTIONS lists what the policies know; HEAD is json-server's own."""
    options = blog.ask("OPTIONS", "/posts/1")
    assert (options.status, options.allow) == (204, {"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"})
    read, head = blog.ask("GET", "/posts/1"), blog.ask("HEAD", "/posts/1")  # whose ETag is derived from a GET
    assert (head.status, head.content, head.headers["etag"]) == (200, b"", read.headers["etag"])


def test_a_connection_lasts(blog: Service) -> None:
    """A refusal, a replay and an answer of the service on one connection: each is complete and in order."""
    connection = http.client.HTTPConnection("127.0.0.1", blog.port, timeout=PATIENCE)
    try:
        statuses = []
        for method, path in (
            ("PUT", "/posts"),
            ("PUT", "/posts/1"),
            ("PUT", "/posts/1"),
            ("GET", "/posts/1"),
            ("DELETE", "/posts/9"),
        ):
            content = json.dumps(CHANGED) if method == "PUT" else None
            connection.request(method, path, content, {"content-type": "application/json"} if content else {})
            answer = connection.getresponse()
            json.loads(answer.read())
            statuses.append(answer.status)
        assert statuses == [405, 200, 200, 200, 404]
    finally:
        connection.close()


# --------------------------------------------------------------------------------------------- one command for both
def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return False
    return True


def test_the_end_of_the_command_is_the_end_of_both(tmp_path: Path) -> None:
    """A signal to the command ends the gateway, and then the service."""
    command = ("examples.wsgi_service", "--port=0", "--upstream-port=0")
    with serving(*command, until=GATEWAY, PARTS_DB=str(tmp_path / "parts.db")) as service:
        assert listens(service.port) and listens(service.upstream)
    assert not listens(service.port) and not listens(service.upstream)


def test_a_gateway_that_cannot_listen_leaves_no_service_behind(tmp_path: Path) -> None:
    """The command ends with an error that says why, and the service with it."""
    said = tmp_path / "said"  # a file: a pipe would be held open by what is left behind
    with socket.create_server(("127.0.0.1", 0)) as taken, said.open("wb") as output:
        port = taken.getsockname()[1]
        ran = subprocess.run(
            [sys.executable, "-m", "examples.wsgi_service", f"--port={port}", "--upstream-port=0"],
            cwd=ROOT,
            env={**os.environ, "PARTS_DB": str(tmp_path / "parts.db")},
            stdout=output,
            stderr=output,
            timeout=PATIENCE,
        )
    text = said.read_text("utf-8")
    assert ran.returncode != 0
    assert f"port {port}" in text
    served = re.search(r"Serving on http://127\.0\.0\.1:(\d+)", text)
    assert served is not None and not listens(int(served[1]))
