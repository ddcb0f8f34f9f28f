// Posts to argv[2] with fetch and with http.Agent, each with its defaults, and prints the statuses.
import http from "node:http";
import { gzipSync } from "node:zlib";

const url = process.argv[2];
const big = JSON.stringify([{ n: 1, text: "x".repeat(300000) }]);
const json = { "Content-Type": "application/json" };
const statuses = [];
for (const [path, init] of [
  ["", { body: '[{"n":1}]', headers: json }],
  ["", { body: big, headers: json }],
  ["", { body: new Blob(['[{"n":1}]']).stream(), duplex: "half" }],
  ["", { body: gzipSync('[{"n":1}]'), headers: { "Content-Encoding": "gzip" } }],
  ["nope", { body: big, headers: json }],
  ["", { body: '[{"n":1}]', headers: json }],
]) {
  const res = await fetch(url + path, { method: "POST", ...init });
  await res.arrayBuffer();
  statuses.push(res.status);
}
const agent = new http.Agent({ keepAlive: true });
for (const body of ['[{"n":1}]', '[{"n":1},{"n":2}]']) {
  statuses.push(await new Promise((resolve, reject) => {
    const req = http.request(url, { method: "POST", agent }, (res) => { res.resume(); res.on("end", () => resolve(res.statusCode)); });
    req.on("error", reject);
    req.end(body);
  }));
}
agent.destroy();
console.log(...statuses);
