// Sends the one-time login that the QR code brought. It came behind the #, which no server and no log has seen, and it
// does not stay in the address bar or the history.

const code = decodeURIComponent(location.hash.slice(1));
if (code) {
  history.replaceState(null, "", location.pathname);
  document.getElementById("code").value = code;
  document.getElementById("join").submit();
}
