"""Before it ships: proof that the exported model can be served, by asking a fresh server process.

`component` is the TFX node. `verdict` says what is the model's fault, and `checks` what is asked of
a server that `servers` starts: `model_server` where tensorflow_model_server is installed, else
`loader`, whose other half `tensorflow_loader` runs in the server's process; the two speak
`messages`. `contract` says what an answer must be, `sample` which images are asked about, and
`process` sees to it that nothing is left behind.
"""
