"""Where the sidecar may differ from the others, each with the reason."""

from __future__ import annotations

# Both nginx and HAProxy refuse it, and the sidecar does not.
ALLOWED: dict[str, str] = {}
# Sent on, and refused by a reader behind the sidecar: by which, and why that is right
# for it and no reason for a proxy. Whoever refuses reads nothing in another way.
REFUSED_BY_READER: dict[str, tuple[str, str]] = {
    "field of 9 KB": ("nginx", "its limit for a line is 8 KB; that of the sidecar 64"),
    "field name of 1 KB": ("haproxy", "its limit for a name is 255 bytes"),
    "100 fields": (
        "http.server, haproxy",
        "their limits are 100 and 101 fields, and a hop adds some",
    ),
    "asterisk": (
        "nginx",
        "it does not serve OPTIONS *, which RFC 9110, 9.3.7, defines",
    ),
    "path with dots": ("nginx", "it maps paths to files; here they go on as they came"),
    "path with dots, encoded": ("nginx", "as above: it decodes the path first"),
    "path with a bad percent": (
        "nginx",
        "it decodes the path; here nothing is decoded",
    ),
    "path with an encoded NUL": ("nginx", "as above: a file's name has no NUL"),
    "method TRACE": ("nginx", "it does not serve TRACE; the application decides"),
}
