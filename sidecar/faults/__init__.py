"""What can fail, what each failure is called, and how it is told.

`catalogue` is the closed list as data; `classify` turns an exception, a limit
of time or an answer into an entry of it; `render` writes it for a client, and
`docs` for people.
"""
