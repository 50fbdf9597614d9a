// Drives the npm client for tests: commands come as one JSON object a line, what happens is told likewise.
import { createInterface } from "node:readline";

const { endpoints, protobuf, options } = JSON.parse(process.argv[2]);
const { Centrifuge } = await import(protobuf ? "centrifuge/build/protobuf" : "centrifuge");

const encode = (value) => (protobuf ? new TextEncoder().encode(JSON.stringify(value)) : value);
const decode = (value) => (value instanceof Uint8Array ? JSON.parse(new TextDecoder().decode(value)) : value);
const tell = (what, fields = {}) => console.log(JSON.stringify({ what, ...fields }));

const client = new Centrifuge(endpoints, { minReconnectDelay: 20, maxReconnectDelay: 200, ...options });
client.on("connected", ({ client, transport }) => tell("connected", { client, transport }));
client.on("connecting", ({ code, reason }) => tell("connecting", { code, reason }));
client.on("disconnected", ({ code, reason }) => tell("disconnected", { code, reason }));
client.on("error", ({ type, error }) => tell("error", { type, code: error.code, message: error.message }));
client.on("publication", ({ channel, data }) => tell("publication", { channel, data: decode(data) }));

const doing = {
  connect: () => client.connect(),
  disconnect: () => client.disconnect(),
  subscribe: ({ channel, options }) => {
    const subscription = client.newSubscription(channel, options);
    subscription.on("subscribed", ({ recovered, wasRecovering }) =>
      tell("subscribed", { channel, recovered, wasRecovering }),
    );
    subscription.on("unsubscribed", ({ code, reason }) => tell("unsubscribed", { channel, code, reason }));
    subscription.on("publication", ({ data, offset }) =>
      tell("publication", { channel, offset, data: decode(data) }),
    );
    subscription.subscribe();
  },
  unsubscribe: ({ channel }) => client.getSubscription(channel).unsubscribe(),
  publish: ({ channel, data }) => client.publish(channel, encode(data)),
  rpc: async ({ method, data }) => decode((await client.rpc(method, encode(data))).data),
  presence: async ({ channel }) => (await client.presence(channel)).clients,
  history: async ({ channel, limit }) =>
    (await client.history(channel, { limit })).publications.map(({ data }) => decode(data)),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { number, action, ...params } = JSON.parse(line);
  Promise.resolve()
    .then(() => doing[action](params))
    .then((result) => tell("done", { number, result: result ?? null }))
    .catch((error) => tell("failed", { number, code: error.code, message: error.message }));
}
process.exit(0);
