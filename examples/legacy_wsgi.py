"""The stock list of a workshop: a WSGI script of 2009 that works, and that nobody dares to touch.

It stands here as it was found. Its POST does not say where the new part is; its PUT books a movement each time it
comes; a PUT on the whole list replaces the whole list; HEAD and OPTIONS are unknown to it; its 405 does not say what is
allowed; its 204 carries text. Guarded, without changing a line of it (the parts are kept in parts.db, or in the
file that PARTS_DB names):

    verbguard serve examples.legacy_wsgi:application --config examples/legacy.toml
"""

import json
import os
import sqlite3

DB = os.environ.get("PARTS_DB", "parts.db")


def open_db():
    con = sqlite3.connect(DB)
    con.execute("create table if not exists part (id integer primary key, name text, stock integer)")
    con.execute("create table if not exists movement (id integer primary key, part integer, stock integer)")
    return con


def read_json(environ):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    return json.loads(environ["wsgi.input"].read(length))


def part_dict(row):
    return {"id": row[0], "name": row[1], "stock": row[2]}


def application(environ, start_response):
    con = open_db()
    try:
        status, data = handle(con, environ["REQUEST_METHOD"], environ["PATH_INFO"], environ)
        con.commit()
    finally:
        con.close()
    if isinstance(data, str):
        start_response(status, [("Content-Type", "text/plain")])
        return [data.encode("utf-8")]
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(data).encode("utf-8")]


def handle(con, method, path, environ):
    words = path.strip("/").split("/")
    if words == ["parts"]:
        return handle_list(con, method, environ)
    if len(words) > 1 and words[0] == "parts" and words[1].isdigit():
        number = int(words[1])
        row = con.execute("select id, name, stock from part where id = ?", (number,)).fetchone()
        if row is None:
            return "404 Not Found", "no part " + str(number)
        if len(words) == 2:
            return handle_part(con, method, row, environ)
        if words[2:] == ["movements"] and method == "GET":
            rows = con.execute("select stock from movement where part = ? order by id", (number,)).fetchall()
            return "200 OK", [r[0] for r in rows]
    return "404 Not Found", "not here"


def handle_list(con, method, environ):
    if method == "GET":
        rows = con.execute("select id, name, stock from part order by id").fetchall()
        return "200 OK", [part_dict(r) for r in rows]
    if method == "POST":
        part = read_json(environ)
        cur = con.execute("insert into part (name, stock) values (?, ?)", (part["name"], part["stock"]))
        return "201 Created", part_dict((cur.lastrowid, part["name"], part["stock"]))
    if method == "PUT":
        # the office program sends the whole list on Monday
        con.execute("delete from part")
        for part in read_json(environ):
            con.execute("insert into part (name, stock) values (?, ?)", (part["name"], part["stock"]))
        return "200 OK", "list replaced"
    return "405 Method Not Allowed", "cannot " + method


def handle_part(con, method, row, environ):
    number = row[0]
    if method == "GET":
        return "200 OK", part_dict(row)
    if method == "PUT":
        part = read_json(environ)
        con.execute("update part set name = ?, stock = ? where id = ?", (part["name"], part["stock"], number))
        con.execute("insert into movement (part, stock) values (?, ?)", (number, part["stock"]))
        return "200 OK", part_dict((number, part["name"], part["stock"]))
    if method == "DELETE":
        con.execute("delete from part where id = ?", (number,))
        return "204 No Content", "part " + str(number) + " deleted"
    return "405 Method Not Allowed", "cannot " + method
