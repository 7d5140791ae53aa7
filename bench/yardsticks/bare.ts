/** Yardstick "bare": node:http that reads JSON of the subject's size and answers JSON of the subject's size, nothing else. Forked; told the answer, says its port. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

process.once('message', (answer: unknown) => {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      JSON.parse(Buffer.concat(chunks).toString('utf8'));
      const body = JSON.stringify(answer);
      response.writeHead(202, { 'content-type': 'application/json; charset=utf-8', 'content-length': Buffer.byteLength(body) }).end(body);
    });
  });
  server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
});
