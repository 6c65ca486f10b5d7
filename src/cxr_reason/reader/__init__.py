"""From the bytes of a film to its reading: the one implementation, in this process or in a server.

`FilmEncoder` turns a film into visual tokens, `Reader` answers requests about it.
"""
