// The files of undici that make a client, as its own types describe them.
declare module 'undici/lib/dispatcher/client.js' {
  import { Client } from 'undici';
  export default Client;
}
declare module 'undici/lib/core/connect.js' {
  import { buildConnector } from 'undici';
  export default buildConnector;
}
declare module 'undici/lib/api/api-request.js' {
  import type { Client } from 'undici';

  /** All of undici makes it a method of the client; alone it is called with one as `this`. */
  const request: (this: Client, options: Client.RequestOptions) => ReturnType<Client['request']>;
  export default request;
}
