"""The application is asked how it is, and helped when it is not well.

`probes` ask, `monitor` decides by `policy.health` and tells, `hooks` help.
Nothing here is loaded unless `health.application` says what to ask.
"""
