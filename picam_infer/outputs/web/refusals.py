"""The responses to requests that are refused: a page, the login form, or JSON."""

from __future__ import annotations

import html

from aiohttp import web

from picam_infer.outputs.web.access import NEEDED, SAFE, Access, Refused
from picam_infer.outputs.web.files import PAGE
from picam_infer.outputs.web.request import for_person, root
from picam_infer.outputs.web.session_cookie import del_cookie
from picam_infer.platform import utf8


def refuse(access: Access, request: web.Request, refusal: Refused) -> web.Response:
    """Return the response to a refused request: a page or the login form for a person, JSON for a program."""
    if for_person(request):
        login = refusal.status in (401, 429) and request.method in SAFE
        return login_form(access, request, refusal) if login else problem_page(access, request, refusal)
    answer = web.json_response({"error": refusal.reason, "hint": refusal.hint}, status=refusal.status)
    # A browser would ask for a password over the page, for every picture and every fetch.
    if refusal.status == 401 and not request.headers.get("User-Agent", "").startswith("Mozilla/"):
        answer.headers["WWW-Authenticate"] = 'Basic realm="picam-infer"'
    return _finished(answer, refusal)


def problem_page(access: Access, request: web.Request, refusal: Refused) -> web.Response:
    """Return a page that says what is wrong and what to do about it."""
    text = (PAGE / "problem.html").read_text("utf-8")
    words = {"reason": _sentence(refusal.reason), "hint": _sentence(refusal.hint), "example": refusal.example}
    for name, said in words.items():
        text = text.replace(f"<!--{name}-->", html.escape(said))
    text = text.replace("<!--root-->", root(access, request))
    return _finished(_page(text, refusal), refusal)


def _page(text: str, refusal: Refused) -> web.Response:
    """Return a page; it may quote what is no valid text, from a header or a body."""
    body = utf8.encoded(text)
    return web.Response(body=body, content_type="text/html", charset="utf-8", status=refusal.status)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _finished(answer: web.Response, refusal: Refused) -> web.Response:
    """Say when to try again, and close the connection after a damaged request."""
    if refusal.wait_s:
        answer.headers["Retry-After"] = str(int(refusal.wait_s) + 1)
    if refusal.status in (400, 408, 413, 500):
        answer.force_close()
    return answer


def _where(access: Access) -> str:
    """Return where a person finds the token, as HTML."""
    command = access.token.command
    if not command:
        return f"The token is in {html.escape(str(access.token.path))} of the service."
    told = "The token is in a file on the computer that runs picam-infer. This command shows it:"
    return f"{told}\n<code>{html.escape(command)}</code>"


def login_form(access: Access, request: web.Request, refusal: Refused) -> web.Response:
    """Return the login form, with the error of the last try."""
    reason = refusal.reason + (f"; {refusal.hint}" if refusal.hint else "")
    shown = "" if reason == NEEDED else html.escape(reason[:1].upper() + reason[1:])
    text = (PAGE / "login.html").read_text("utf-8").replace("<!--problem-->", shown)
    text = text.replace("<!--root-->", root(access, request))
    text = text.replace("<!--where-->", _where(access))
    answer = _page(text, refusal)
    del_cookie(access, request, answer)
    return _finished(answer, refusal)
