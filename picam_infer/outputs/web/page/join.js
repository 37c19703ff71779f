// Sends the one-time login of the QR code. It follows the #, which browsers send to no server, and is removed from the
// address bar and the history.

const code = decodeURIComponent(location.hash.slice(1));
if (code) {
  history.replaceState(null, "", location.pathname);
  document.getElementById("code").value = code;
  document.getElementById("join").submit();
}
