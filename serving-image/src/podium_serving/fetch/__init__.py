"""The model fetcher: `python -m podium_serving.fetch`, an init container that brings a model to a folder of the pod.

Environment
    PODIUM_MODEL_URI           s3://bucket/key-or-prefix, https://host/path, or pvc://claim/path. Required.
    PODIUM_MODEL_SHA256        the digest that the model must have (below); not checked when empty
    PODIUM_MODEL_PATH          what to make, /models/model; its parent must be writable, for the model is staged there
    PODIUM_MODEL_LAYOUT        Folder (default): the path becomes a folder, into which a single file goes under its own
                               name. File: the path becomes the file, of which the URI must have exactly one.
    PODIUM_MODEL_MAX_BYTES     more than that is refused; 0, the default, is no limit
    PODIUM_CREDENTIALS_SECRET  the name of the Secret that the credentials come from, for messages only
    PODIUM_PVC_PATH            where the claim of a pvc:// URI is mounted, /pvc
    PODIUM_ALLOW_HTTP          true allows http:// URIs
    PODIUM_ALLOW_ADDRESSES     CIDRs, addresses and host names, separated by commas, where https may go although they
                               are private, loopback or link-local; * is all
    PODIUM_CA_FILE             further certificates to trust, PEM; or the text itself in a variable named ca.crt
    HTTPS_PROXY, HTTP_PROXY    http://[user:password@]host:port for https:// and http:// requests, those to S3 endpoints
                               included; the address check is then of the proxy. NO_PROXY: hosts (with all below them),
                               addresses and CIDRs that are reached without, separated by commas; * is all. Other
                               spellings are not read.
    PODIUM_FETCH_ATTEMPTS      passing errors without progress in a row before this process gives up, 4
    PODIUM_STALL_SECONDS       a connection that delivers nothing for that long has failed, 60
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION (AWS_DEFAULT_REGION),
    AWS_ENDPOINT_URL_S3 (AWS_ENDPOINT_URL):
        for s3://, from a Secret as a rule. An endpoint may be plain http. Web identity (AWS_WEB_IDENTITY_TOKEN_FILE
        with AWS_ROLE_ARN) and container credentials (AWS_CONTAINER_CREDENTIALS_FULL_URI with
        AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, or AWS_CONTAINER_CREDENTIALS_RELATIVE_URI) are taken as well; without
        the whole of one requests are anonymous: the credentials of the node are never asked for.

Digest
    Of a file: the sha256 of its bytes. Of a folder: the sha256 of one line `<sha256>  <relative path>` per file, sorted
    by path as bytes, as printed by
        find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum
    It is of what the URI names, whatever the layout. Of a claim, `lost+found` at its root and names that begin with two
    dots (kubelet's own, in ConfigMaps and projected volumes) do not belong to it; nor does what tools leave behind
    (folders.py) where it cannot be read or is no file, such as `.#model.onnx` and another user's `.Trash-0`.

Breaks
    What has arrived is kept beside the path and continued (Range with If-Match or If-Range), also by the container's
    next run, unless the store tells no ETag and no date, or sends the file compressed. Files that change meanwhile are
    fetched anew; a folder is listed again at the end: never half of one generation and half of another.

Outcome
    Exit code 0: the path is complete; the termination message is
        {"result": "done", "uri", "digest", "bytes", "files", "seconds", "attempts", "reused"}.
    Exit code 65: permanent, trying again cannot help; 75: passing. Then the message is
        {"result": "failed", "reason", "permanent", "message", "uri", "attempts", "seconds"};
    the reasons are in errors.py. In the end, and whenever the process is killed, the path is either complete or what
    it was before. A run that finds it complete checks its digest and keeps it.
"""
