"""What RFC 9110 and RFC 9112 ask of a proxy, by section; docs/http-conformance.md."""
