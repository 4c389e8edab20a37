/**
 * The handle of one of Node's UDP sockets, with its descriptor, for system calls that Node has no function for. It
 * was `socket._handle` before Node 26; the property behind it has not changed.
 */
export function datagramHandle(socket) {
  const symbol = Object.getOwnPropertySymbols(socket).find(
    ({ description }) => description === 'state symbol',
  );
  const handle = symbol && socket[symbol].handle;
  if (!handle) throw new Error(`this version of Node (${process.version}) keeps a socket's handle elsewhere`);
  return handle;
}
