/** The transport over WebSockets. */
export { createWsTransport } from './create-ws-transport.ts';
export { parseWsOptions } from './options.ts';
export type { WsTransport } from './ws-transport.ts';
