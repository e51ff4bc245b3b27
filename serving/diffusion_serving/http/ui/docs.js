// The interactive part of /docs: Swagger UI over this server's own description, at this page's own prefix.

const base = new URL(".", location.href.replace(/\/docs\/?([?#].*)?$/, "/docs"));

const reply = await fetch(new URL("openapi.json", base));
const description = await reply.json();
SwaggerUIBundle({
  dom_id: "#swagger",
  // A proxy in front may serve this server below a prefix, which the description can't know.
  spec: { ...description, servers: [{ url: base.href.replace(/\/$/, "") }] },
  defaultModelsExpandDepth: -1, // the page below has the fields in words
  deepLinking: false, // the page's own anchors name problems
  supportedSubmitMethods: ["get", "post"],
  tryItOutEnabled: true,
  validatorUrl: null, // no other server sees the description
});
