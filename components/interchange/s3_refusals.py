"""What an S3 store may answer instead of doing what it was asked, each as one sentence that says where to change it."""

from typing import Any

from components.interchange.errors import BadInput

CREDENTIALS = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired")
PERMISSION = ("AccessDenied", "403", "Forbidden", "AllAccessDisabled", "AccountProblem")
REGION = ("PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")


def code_of(error: Any) -> str:
    """The code of a ClientError."""
    return str(error.response.get("Error", {}).get("Code", ""))


def told(error: Exception, where: str, endpoint: str, permission: str) -> BadInput:
    """One sentence for an error of boto3, botocore or s3transfer. `where` is an s3:// URI."""
    from botocore import exceptions as found

    if isinstance(error, found.NoCredentialsError | found.PartialCredentialsError):
        return BadInput(f"{where}: {error}. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.")
    if isinstance(error, found.ClientError):
        return _refusal(error, where, endpoint, permission)
    if isinstance(error, found.ConnectionError | found.HTTPClientError):
        return BadInput(f"{where}: no answer from {endpoint} ({error}). Is AWS_ENDPOINT_URL right?")
    return BadInput(f"{where}: the answer of {endpoint} does not arrive whole ({error}). Try again later.")


def _refusal(error: Any, where: str, endpoint: str, permission: str) -> BadInput:
    code, status = code_of(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code == "NoSuchBucket":
        return BadInput(f"{where}: there is no such bucket at {endpoint}. Make it, or name another.")
    if code in CREDENTIALS:
        return BadInput(f"{where}: {endpoint} does not accept the credentials ({code}). See AWS_ACCESS_KEY_ID.")
    if code == "RequestTimeTooSkewed":
        return BadInput(f"{where}: {endpoint} has another time than this machine ({code}). Set its clock.")
    if code in PERMISSION:
        return BadInput(f"{where}: no permission for {permission} ({code}). Graft needs Get, Put, List and Delete.")
    if code in REGION:
        return BadInput(f"{where}: the bucket is in another region ({code}). Set AWS_REGION.")
    if code in ("NotImplemented", "501"):
        return BadInput(f"{where}: {endpoint} has no conditional writes ({code}). Use a store that has them.")
    if status >= 500 or status == 429:
        tries = error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0) + 1
        return BadInput(f"{where}: {endpoint} answered {status} {code}, {tries} times. Try again later.")
    return BadInput(f"{where}: {endpoint} refused {permission}: {code} {error.response['Error'].get('Message', '')}")
