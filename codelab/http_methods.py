"""HEAD and OPTIONS for every path, and a JSON sentence for a method that a path does not have.

The views only know their own methods. A preflight of a browser never arrives here (`codelab.cors`).
"""

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase, HttpResponseNotAllowed
from django.utils.deprecation import MiddlewareMixin

from codelab.path_errors import method_not_allowed


class HttpMethods(MiddlewareMixin):
    """Answers HEAD as GET, whose body the web server leaves out, and OPTIONS with what a path allows."""

    def process_request(self, request: HttpRequest) -> None:
        request.asked_method = request.method  # type: ignore[attr-defined]
        if request.method == "HEAD":
            request.method = "GET"

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Return the response, or one without a body that has the same headers."""
        asked = getattr(request, "asked_method", request.method)
        if asked == "HEAD" and response.streaming:
            # It would go on for as long as the client stays. Its iterator has not begun, so nothing has to be closed.
            return HttpResponse(status=response.status_code, headers=dict(response.items()))
        if not isinstance(response, HttpResponseNotAllowed):
            return response
        methods = {*response["Allow"].split(", "), "OPTIONS"}
        allowed = sorted(methods | {"HEAD"} if "GET" in methods else methods)
        if asked == "OPTIONS":
            return HttpResponse(status=204, headers={"Allow": ", ".join(allowed)})
        return method_not_allowed(request.path, allowed)
