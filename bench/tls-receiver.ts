// A program of the floor: takes what comes over one TLS connection, throws it away, and says how many bytes and how much CPU that was.
// With --send it is the other side. Usage: tls-receiver CERTIFICATE.json | tls-receiver --send PORT BYTES SLICE
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { connect, createServer } from 'node:tls';

const [first = '', ...more] = process.argv.slice(2);
if (first === '--send') await send(more.map(Number) as [number, number, number]);
else await receive(first);

async function receive(path: string): Promise<void> {
  const server = createServer(JSON.parse(readFileSync(path, 'utf8')) as { cert: string; key: string });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
  const [socket] = await once(server, 'secureConnection');
  const before = process.cpuUsage();
  let bytes = 0;
  for await (const part of socket) bytes += (part as Buffer).length;
  const { user, system } = process.cpuUsage(before);
  process.stdout.write(`${JSON.stringify({ bytes, cpuS: (user + system) / 1e6 })}\n`);
  server.close();
}

async function send([port, bytes, sliceBytes]: [number, number, number]): Promise<void> {
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const slice = Buffer.alloc(sliceBytes);
  for (let left = bytes; left > 0; left -= sliceBytes)
    if (!socket.write(left < sliceBytes ? slice.subarray(0, left) : slice)) await once(socket, 'drain');
  socket.end();
  await once(socket, 'close');
}
