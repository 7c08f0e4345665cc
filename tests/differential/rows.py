"""Requests that readers are known to take in different ways, by what is odd in them."""

from __future__ import annotations

_HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
_LAST = b"0\r\n\r\n"


def _get(
    *lines: bytes, line: bytes = b"GET /row HTTP/1.1", host: bytes = b"a"
) -> bytes:
    return b"\r\n".join([line, b"Host: " + host, *lines, b"", b""])


def _post(*lines: bytes, body: bytes = b"") -> bytes:
    return _get(*lines, line=b"POST /row HTTP/1.1") + body


def _chunked(body: bytes, *lines: bytes) -> bytes:
    return _post(b"Transfer-Encoding: chunked", *lines, body=body)


def _coded(field: bytes) -> bytes:
    """Return a body that is empty when it is chunked, and hides a request if not."""
    return _post(field, body=_LAST + _HIDDEN)


def _line(line: bytes) -> bytes:
    return _get(line=line)


_LENGTH: dict[str, bytes] = {
    "length": _post(b"Content-Length: 3", body=b"abc"),
    "length zero": _post(b"Content-Length: 0"),
    "length, hidden request": _post(b"Content-Length: 34", body=_HIDDEN + b"x"),
    "length twice, alike": _post(
        b"Content-Length: 3", b"Content-Length: 3", body=b"abc"
    ),
    "length twice": _post(b"Content-Length: 3", b"Content-Length: 0", body=b"abc"),
    "length as a list": _post(b"Content-Length: 3, 3", body=b"abc"),
    "length as a list of two": _post(b"Content-Length: 3, 0", body=b"abc"),
    "length with plus": _post(b"Content-Length: +3", body=b"abc"),
    "length with minus": _post(b"Content-Length: -3", body=b"abc"),
    "length in hex": _post(b"Content-Length: 0x3", body=b"abc"),
    "length with zeros": _post(b"Content-Length: 0003", body=b"abc"),
    "length with a point": _post(b"Content-Length: 3.0", body=b"abc"),
    "length with underscore": _post(b"Content-Length: 1_0", body=b"0123456789"),
    "length with words": _post(b"Content-Length: 3 bytes", body=b"abc"),
    "length with two numbers": _post(b"Content-Length: 3 3", body=b"abc"),
    "length empty": _post(b"Content-Length:", body=b"abc"),
    "length blank": _post(b"Content-Length:  ", body=b"abc"),
    "length over 64 bits": _post(b"Content-Length: 18446744073709551619", body=b"abc"),
    "length over 63 bits": _post(b"Content-Length: 9223372036854775808", body=b"abc"),
    "length quoted": _post(b'Content-Length: "3"', body=b"abc"),
    "length in obs-text": _post(b"Content-Length: \xb3", body=b"abc"),
    "length after a tab": _post(b"Content-Length:\t3\t", body=b"abc"),
    "length after a vertical tab": _post(b"Content-Length:\x0b3", body=b"abc"),
    "length after a form feed": _post(b"Content-Length:\x0c3", body=b"abc"),
    "length before a space": _post(b"Content-Length : 3", body=b"abc"),
    "length with underscore in the name": _post(b"Content_Length: 3", body=b"abc"),
    "length after a space": _post(b" Content-Length: 3", body=b"abc"),
    "length of a GET": _get(b"Content-Length: 3") + b"abc",
    "length of a HEAD": _get(b"Content-Length: 3", line=b"HEAD /row HTTP/1.1") + b"abc",
    "length too large": _post(b"Content-Length: 99", body=b"abc"),
}
_BOTH: dict[str, bytes] = {
    "both, length first": _post(
        b"Content-Length: 6", b"Transfer-Encoding: chunked", body=_LAST + b"G"
    ),
    "both, coding first": _post(
        b"Transfer-Encoding: chunked", b"Content-Length: 5", body=_LAST
    ),
    "both, length zero": _chunked(b"3\r\nabc\r\n" + _LAST, b"Content-Length: 0"),
    "both, of HTTP/1.0": _get(
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        line=b"POST /row HTTP/1.0",
    )
    + _LAST,
    "both, coding unknown": _post(
        b"Content-Length: 3", b"Transfer-Encoding: identity", body=b"abc"
    ),
    "both, coding empty": _post(
        b"Content-Length: 3", b"Transfer-Encoding:", body=b"abc"
    ),
    "both, named by Connection": _chunked(
        b"3\r\nabc\r\n" + _LAST, b"Connection: content-length", b"Content-Length: 0"
    ),
}
_CODING: dict[str, bytes] = {
    "coding": _coded(b"Transfer-Encoding: chunked"),
    "coding in capitals": _coded(b"TRANSFER-ENCODING: CHUNKED"),
    "coding without a space": _coded(b"Transfer-Encoding:chunked"),
    "coding after a tab": _coded(b"Transfer-Encoding:\tchunked"),
    "coding before a tab": _coded(b"Transfer-Encoding: chunked\t"),
    "coding after a vertical tab": _coded(b"Transfer-Encoding: \x0bchunked"),
    "coding before a form feed": _coded(b"Transfer-Encoding: chunked\x0c"),
    "coding before a space and colon": _coded(b"Transfer-Encoding : chunked"),
    "coding after a space": _coded(b" Transfer-Encoding: chunked"),
    "coding quoted": _coded(b'Transfer-Encoding: "chunked"'),
    "coding with a parameter": _coded(b"Transfer-Encoding: chunked;q=1"),
    "coding misspelt": _coded(b"Transfer-Encoding: xchunked"),
    "coding cut": _coded(b"Transfer-Encoding: chunke"),
    "coding twice": _coded(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    "coding twice in a list": _coded(b"Transfer-Encoding: chunked, chunked"),
    "coding, then identity": _coded(b"Transfer-Encoding: chunked, identity"),
    "identity, then coding": _coded(b"Transfer-Encoding: identity, chunked"),
    "identity alone": _post(b"Transfer-Encoding: identity"),
    "gzip, then coding": _coded(b"Transfer-Encoding: gzip, chunked"),
    "gzip alone": _post(b"Transfer-Encoding: gzip"),
    "coding after a comma": _coded(b"Transfer-Encoding: ,chunked"),
    "coding before a comma": _coded(b"Transfer-Encoding: chunked,"),
    "coding folded": _coded(b"Transfer-Encoding:\r\n chunked"),
    "coding folded onto another field": _coded(b"X: y\r\n Transfer-Encoding: chunked"),
    "coding after a bare LF": _coded(b"X: y\nTransfer-Encoding: chunked"),
    "coding after a bare CR": _coded(b"X: y\rTransfer-Encoding: chunked"),
    "coding after a NUL": _coded(b"Transfer-Encoding: \0chunked"),
    "coding with underscore": _coded(b"Transfer_Encoding: chunked"),
    "coding in obs-text": _coded(b"Transfer-Encoding: chun\xebed"),
    "coding of HTTP/1.0": _get(
        b"Transfer-Encoding: chunked", line=b"POST /row HTTP/1.0"
    )
    + _LAST,
    "coding of a GET": _get(b"Transfer-Encoding: chunked") + _LAST,
    "coding named by Connection": _chunked(_LAST, b"Connection: transfer-encoding"),
}
_CHUNKS: dict[str, bytes] = {
    "chunks": _chunked(b"3\r\nabc\r\n2\r\nde\r\n" + _LAST),
    "chunk in capitals": _chunked(b"A\r\n0123456789\r\n" + _LAST),
    "chunk with zeros": _chunked(b"00003\r\nabc\r\n000\r\n\r\n"),
    "chunk with plus": _chunked(b"+3\r\nabc\r\n" + _LAST),
    "chunk with minus": _chunked(b"-3\r\nabc\r\n" + _LAST),
    "chunk with 0x": _chunked(b"0x3\r\nabc\r\n" + _LAST),
    "chunk with underscore": _chunked(b"1_0\r\n" + b"x" * 16 + b"\r\n" + _LAST),
    "chunk after a space": _chunked(b" 3\r\nabc\r\n" + _LAST),
    "chunk before a space": _chunked(b"3 \r\nabc\r\n" + _LAST),
    "chunk before a tab": _chunked(b"3\t\r\nabc\r\n" + _LAST),
    "chunk without a size": _chunked(b"\r\nabc\r\n" + _LAST),
    "chunk over 64 bits": _chunked(b"10000000000000003\r\nabc\r\n" + _LAST),
    "chunk of 63 bits": _chunked(b"7fffffffffffffff\r\nabc\r\n" + _LAST),
    "chunk longer than told": _chunked(b"3\r\nabcd\r\n" + _LAST),
    "chunk shorter than told": _chunked(b"4\r\nabc\r\n" + _LAST),
    "chunk with a bare LF": _chunked(b"3\nabc\r\n" + _LAST),
    "chunk ends with a bare LF": _chunked(b"3\r\nabc\n" + _LAST),
    "chunk with a bare CR": _chunked(b"3\rabc\r\n" + _LAST),
    "chunk without an end": _chunked(b"3\r\nabc" + _LAST),
    "chunk with an extension": _chunked(b"3;a=b\r\nabc\r\n0;c\r\n\r\n"),
    "chunk with an extension, quoted": _chunked(b'3;a="b;c"\r\nabc\r\n' + _LAST),
    "chunk with an extension, LF": _chunked(b"3;a\nb\r\nabc\r\n" + _LAST),
    "chunk with an extension, CR": _chunked(b"3;a\rb\r\nabc\r\n" + _LAST),
    "chunk with an extension, NUL": _chunked(b"3;\0\r\nabc\r\n" + _LAST),
    "chunk with an extension of 5 KB": _chunked(
        b"3;" + b"a" * 5000 + b"\r\nabc\r\n" + _LAST
    ),
    "chunk with a comma": _chunked(b"3,a\r\nabc\r\n" + _LAST),
    "last chunk with a bare LF": _chunked(b"3\r\nabc\r\n0\n\n"),
    "last chunk half done": _chunked(b"3\r\nabc\r\n0\r\n"),
    "no last chunk": _chunked(b"3\r\nabc\r\n"),
    "chunk that looks like the end": _chunked(b"5\r\n0\r\n\r\n\r\n" + _LAST),
    "chunk that hides a request": _chunked(b"21\r\n" + _HIDDEN + b"\r\n" + _LAST),
}
_TRAILERS: dict[str, bytes] = {
    "trailer": _chunked(b"0\r\nX-Sum: 1\r\n\r\n"),
    "trailer with a length": _chunked(b"0\r\nContent-Length: 40\r\n\r\n" + _HIDDEN),
    "trailer with a coding": _chunked(b"0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "trailer with a host": _chunked(b"0\r\nHost: evil\r\n\r\n"),
    "trailer folded": _chunked(b"0\r\nX: y\r\n z\r\n\r\n"),
    "trailer without a colon": _chunked(b"0\r\nX y\r\n\r\n"),
    "trailer with a space and colon": _chunked(b"0\r\nX : y\r\n\r\n"),
    "trailer with a bare LF": _chunked(b"0\r\nX: y\nZ: a\r\n\r\n"),
    "trailer that looks like a request": _chunked(b"0\r\n" + _HIDDEN),
    "trailer with a NUL": _chunked(b"0\r\nX: \0\r\n\r\n"),
}
_FIELDS: dict[str, bytes] = {
    "field folded": _get(b"X: y", b" z"),
    "field folded with a tab": _get(b"X: y", b"\tz"),
    "field folded at first": b"GET /row HTTP/1.1\r\n Host: a\r\nHost: b\r\n\r\n",
    "field folded, Content-Length": _get(b"X: y", b" Content-Length: 33") + _HIDDEN,
    "field with a bare LF": _get(b"X: y\nZ: a"),
    "field with a bare CR": _get(b"X: y\rZ: a"),
    "field with CR CR LF": _get(b"X: y\r"),
    "field with a NUL": _get(b"X: y\0z"),
    "field with a bell": _get(b"X: \x07"),
    "field with DEL": _get(b"X: \x7f"),
    "field with obs-text": _get(b"X: \xe9\x85\xa0"),
    "field without a colon": _get(b"X"),
    "field without a name": _get(b": y"),
    "field without a value": _get(b"X:"),
    "field with a space in the name": _get(b"X Y: z"),
    "field with a tab in the name": _get(b"X\t: y"),
    "field with odd characters": _get(b"!#$%&'*+-.^_`|~: y"),
    "field with brackets in the name": _get(b"X[]: y"),
    "field with a slash in the name": _get(b"X/Y: z"),
    "field with obs-text in the name": _get(b"X\xe9: y"),
    "field with a NUL in the name": _get(b"X\0: y"),
    "field name quoted": _get(b'"X": y'),
    "field of 9 KB": _get(b"X: " + b"y" * 9000),
    "field of 70 KB": _get(b"X: " + b"y" * 70_000),
    "field name of 1 KB": _get(b"X" * 1000 + b": y"),
    "100 fields": _get(*(b"X%d: y" % n for n in range(99))),
    "101 fields": _get(*(b"X%d: y" % n for n in range(101))),
    "fields end with a bare LF": b"GET /row HTTP/1.1\r\nHost: a\r\n\n" + _HIDDEN,
    "only bare LF": b"GET /row HTTP/1.1\nHost: a\n\n",
}
_HOSTS: dict[str, bytes] = {
    "no host": b"GET /row HTTP/1.1\r\nX: y\r\n\r\n",
    "no host in HTTP/1.0": b"GET /row HTTP/1.0\r\n\r\n",
    "host twice": _get(b"Host: b"),
    "host twice, alike": _get(b"Host: a"),
    "host empty": _get(host=b""),
    "host as a list": _get(host=b"a, b"),
    "host with a space": _get(host=b"a b"),
    "host with a path": _get(host=b"a/b"),
    "host with a user": _get(host=b"b@a"),
    "host with a query": _get(host=b"a?b"),
    "host with two ports": _get(host=b"a:1:2"),
    "host with a word as port": _get(host=b"a:b"),
    "host with an empty port": _get(host=b"a:"),
    "host with too large a port": _get(host=b"a:99999"),
    "host of IPv6": _get(host=b"[::1]:80"),
    "host of IPv6, open": _get(host=b"[::1"),
    "host with obs-text": _get(host=b"\xe9"),
    "host with a tab": _get(host=b"a\tb"),
    "host with underscore": _get(host=b"a_b"),
    "host with percent": _get(host=b"%61"),
    "host before a space and colon": b"GET /row HTTP/1.1\r\nHost : a\r\n\r\n",
    "host folded": b"GET /row HTTP/1.1\r\nHost:\r\n a\r\n\r\n",
    "host in another field": _get(b"X-Forwarded-Host: b", b"X-Host: c"),
    "host with a backslash": _get(host=b"a\\b"),
}
_TARGETS: dict[str, bytes] = {
    "absolute": _line(b"GET http://a/row HTTP/1.1"),
    "absolute to elsewhere": _line(b"GET http://b/row HTTP/1.1"),
    "absolute with a user": _line(b"GET http://b@a/row HTTP/1.1"),
    "absolute without a path": _line(b"GET http://a HTTP/1.1"),
    "absolute with a query alone": _line(b"GET http://a?b HTTP/1.1"),
    "absolute without a host": _line(b"GET http:///row HTTP/1.1"),
    "absolute of ftp": _line(b"GET ftp://a/row HTTP/1.1"),
    "authority": _line(b"CONNECT a:443 HTTP/1.1"),
    "authority with GET": _line(b"GET a:443 HTTP/1.1"),
    "asterisk": _line(b"OPTIONS * HTTP/1.1"),
    "asterisk with GET": _line(b"GET * HTTP/1.1"),
    "path with a fragment": _line(b"GET /row#x HTTP/1.1"),
    "path with dots": _line(b"GET /../row/./x HTTP/1.1"),
    "path with dots, encoded": _line(b"GET /%2e%2e/row HTTP/1.1"),
    "path with two slashes": _line(b"GET //row HTTP/1.1"),
    "path with a backslash": _line(b"GET /\\row HTTP/1.1"),
    "path with a bad percent": _line(b"GET /%zz HTTP/1.1"),
    "path with an encoded NUL": _line(b"GET /%00 HTTP/1.1"),
    "path with an encoded line": _line(b"GET /%0d%0aX:y HTTP/1.1"),
    "path with brackets": _line(b'GET /[]{}|"<>^` HTTP/1.1'),
    "path with obs-text": _line(b"GET /\xe9 HTTP/1.1"),
    "path with a NUL": _line(b"GET /\0 HTTP/1.1"),
    "path with a tab": _line(b"GET /row\tx HTTP/1.1"),
    "path with DEL": _line(b"GET /\x7f HTTP/1.1"),
    "path without a slash": _line(b"GET row HTTP/1.1"),
    "path of 9 KB": _line(b"GET /" + b"x" * 9000 + b" HTTP/1.1"),
    "path empty": _line(b"GET  HTTP/1.1"),
    "query with a question mark": _line(b"GET /row?a?b=c&&d HTTP/1.1"),
}
_LINES: dict[str, bytes] = {
    "two spaces": _line(b"GET  /row HTTP/1.1"),
    "two spaces before the version": _line(b"GET /row  HTTP/1.1"),
    "tab for a space": _line(b"GET\t/row\tHTTP/1.1"),
    "vertical tab for a space": _line(b"GET\x0b/row HTTP/1.1"),
    "space at the end": _line(b"GET /row HTTP/1.1 "),
    "space at the start": _line(b" GET /row HTTP/1.1"),
    "four words": _line(b"GET /row x HTTP/1.1"),
    "method in small letters": _line(b"get /row HTTP/1.1"),
    "method unknown": _line(b"BREW /row HTTP/1.1"),
    "method with odd characters": _line(b"G!T /row HTTP/1.1"),
    "method with a colon": _line(b"GET: /row HTTP/1.1"),
    "method with obs-text": _line(b"G\xe9T /row HTTP/1.1"),
    "method empty": _line(b" /row HTTP/1.1"),
    "method TRACE": _line(b"TRACE /row HTTP/1.1"),
    "method PRI": _line(b"PRI * HTTP/2.0"),
    "version 0.9": b"GET /row\r\n",
    "version 0.9, told": _line(b"GET /row HTTP/0.9"),
    "version 1.2": _line(b"GET /row HTTP/1.2"),
    "version 1.10": _line(b"GET /row HTTP/1.10"),
    "version 01.1": _line(b"GET /row HTTP/01.1"),
    "version 2.0": _line(b"GET /row HTTP/2.0"),
    "version in small letters": _line(b"GET /row http/1.1"),
    "version with a comma": _line(b"GET /row HTTP/1,1"),
    "version with a space": _line(b"GET /row HTTP/ 1.1"),
    "version of another protocol": _line(b"GET /row ICAP/1.0"),
    "line ends with CR CR LF": b"GET /row HTTP/1.1\r\r\nHost: a\r\n\r\n",
    "empty line first": b"\r\n" + _get(),
    "five empty lines first": b"\r\n" * 5 + _get(),
    "bare LF first": b"\n" + _get(),
    "bare CR first": b"\r" + _get(),
    "NUL first": b"\0" + _get(),
    "TLS": bytes.fromhex("160301002e0100002a0303") + b"x" * 35 + b"\r\n\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "PROXY line first": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + _get(),
}
_HOPS: dict[str, bytes] = {
    "Connection names Content-Length": _post(
        b"Connection: close, content-length", b"Content-Length: 3", body=b"abc"
    ),
    "Connection names Host": _get(b"Connection: host"),
    "Connection names a forwarded one": _get(
        b"Connection: x-forwarded-for, x-real-ip", b"X-Forwarded-For: 1.1.1.1"
    ),
    "Connection names a cookie": _get(b"Connection: cookie", b"Cookie: a=b"),
    "Connection with odd commas": _get(b"Connection: ,, keep-alive ,\t,x", b"X: y"),
    "Connection close and keep-alive": _get(b"Connection: close, keep-alive"),
    "Proxy-Connection": _get(b"Proxy-Connection: close"),
    "Keep-Alive": _get(b"Keep-Alive: timeout=0, max=0"),
    "TE": _get(b"TE: trailers, chunked;q=0", b"Connection: TE"),
    "Upgrade to h2c": _get(
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABkAAQAAP__",
    ),
    "Upgrade with a body": _post(
        b"Connection: Upgrade",
        b"Upgrade: x",
        b"Content-Length: 3",
        body=b"abc",
    ),
    "Upgrade without Connection": _get(b"Upgrade: websocket"),
    "Expect": _post(b"Expect: 100-continue", b"Content-Length: 3", body=b"abc"),
    "Expect of something else": _post(b"Expect: x", b"Content-Length: 3", body=b"abc"),
    "Expect without a body": _get(b"Expect: 100-continue"),
    "Max-Forwards": _get(b"Max-Forwards: 0", line=b"OPTIONS /row HTTP/1.1"),
}
_PIPELINES: dict[str, bytes] = {
    "three at once": _get() + _HIDDEN + _get(),
    "an empty line between": _get() + b"\r\n" + _HIDDEN,
    "body, then a request": _post(b"Content-Length: 3", body=b"abc") + _HIDDEN,
    "surplus of a body": _post(b"Content-Length: 3", body=b"abcd") + _HIDDEN,
    "a body that was not told": _post(body=b"abc") + _HIDDEN,
    "close, then a request": _get(b"Connection: close") + _HIDDEN,
    "HTTP/1.0, then a request": _line(b"GET /row HTTP/1.0") + _HIDDEN,
    "HTTP/1.0 kept, then a request": _get(
        b"Connection: keep-alive", line=b"GET /row HTTP/1.0"
    )
    + _HIDDEN,
    "good, then malformed": _get() + b"GET /x HTTP/1.1\r\nHost : a\r\n\r\n" + _HIDDEN,
    "request cut": _get()[:-4],
}
ROWS: dict[str, bytes] = {
    **_LENGTH, **_BOTH, **_CODING, **_CHUNKS, **_TRAILERS, **_FIELDS, **_HOSTS,
    **_TARGETS, **_LINES, **_HOPS, **_PIPELINES,
}  # fmt: skip
