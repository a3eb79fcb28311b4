// The API reference: Swagger UI over this gateway's own contract, with a list of the operations beside it.
(() => {
  "use strict";
  const base = location.pathname.replace(/\/docs\/?$/, "");
  const methods = ["get", "head", "put", "post", "patch", "delete"];
  const $ = (id) => document.getElementById(id);

  // Tried calls go to the gateway that served this page, whatever it is called from outside. Swagger UI fills examples and
  // defaults into its forms and would send them all, so those of optional parameters become text.
  function prepare(spec, problems) {
    spec.servers = [{ url: location.origin + base }];
    const resolve = (p) => (p.$ref ? spec.components.parameters[p.$ref.split("/").pop()] : p);
    for (const item of Object.values(spec.paths)) {
      for (const method of methods.filter((m) => item[m])) {
        const own = item[method].parameters || [];
        item[method].parameters = [...(item.parameters || []), ...own].map(resolve).map((p) => {
          if (p.required) return p;
          const { example, ...rest } = p;
          const { default: usual, ...schema } = p.schema;
          let description = p.description.trimEnd();
          if (usual !== undefined) description += ` Default \`${usual}\`.`;
          if (example !== undefined && String(example) !== String(usual)) description += ` Example \`${example}\`.`;
          return { ...rest, schema, description };
        });
      }
      delete item.parameters;
      for (const method of methods.filter((m) => item[m])) item[method].responses = statuses(item[method], problems);
    }
    return spec;
  }

  // Swagger UI takes ranges such as 4XX for undocumented. The table of problems says which statuses they stand for.
  function statuses(op, problems) {
    const { "2XX": success, "4XX": problem, "5XX": ignored, ...out } = op.responses;
    if (success) out[200] = out[201] = success;
    for (const { code, status, title } of problems.filter((p) => op["x-problem-codes"].includes(p.code))) {
      const before = out[status] ? out[status].description + "\n\n" : "";
      out[status] = { ...out[status], description: `${before}\`${code}\` ${title}` };
    }
    return { ...out, default: problem };
  }

  function element(tag, attributes, ...children) {
    const e = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
    e.append(...children);
    return e;
  }

  // The list beside the reference, in the order of the contract's tags.
  function list(spec) {
    const groups = new Map(spec.tags.map((t) => [t.name, []]));
    for (const [path, item] of Object.entries(spec.paths)) {
      for (const method of methods.filter((m) => item[m])) {
        const op = item[method];
        const link = element("a", { href: `#/${encodeURIComponent(op.tags[0])}/${op.operationId}`, title: `${method.toUpperCase()} ${path}` },
          element("span", { class: "summary" }, op.summary), element("span", { class: `method ${method}` }, method === "delete" ? "DEL" : method.toUpperCase()));
        link.dataset.text = `${method} ${path} ${op.summary} ${op.operationId}`.toLowerCase();
        link.addEventListener("click", (event) => {
          event.preventDefault();
          show(op.tags[0], op.operationId, link);
        });
        groups.get(op.tags[0]).push(link);
      }
    }
    for (const [name, links] of groups) $("operations").append(element("section", {}, element("h2", {}, name), ...links));
  }

  function show(tag, id, link) {
    const block = $(`operations-${tag.replace(/ /g, "_")}-${id}`);
    if (!block) return;
    if (!block.classList.contains("is-open")) block.querySelector(".opblock-summary-control").click();
    for (const other of document.querySelectorAll("nav a.here")) other.classList.remove("here");
    link.classList.add("here");
    requestAnimationFrame(() => block.scrollIntoView({ block: "start" }));
  }

  function filter() {
    const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const section of document.querySelectorAll("nav section")) {
      let any = false;
      for (const link of section.querySelectorAll("a")) {
        link.hidden = !words.every((w) => link.dataset.text.includes(w));
        any ||= !link.hidden;
      }
      section.hidden = !any;
    }
  }

  async function read(path) {
    const answer = await fetch(base + path, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`${path} could not be read: ${answer.status}`);
    return answer.json();
  }

  async function start() {
    for (const [id, path] of [["yaml", "/openapi.yaml"], ["json", "/openapi.json"], ["streams", "/asyncapi.yaml"], ["problems", "/problems"]]) $(id).href = base + path;
    $("theme").addEventListener("click", window.toggleTheme);
    $("filter").addEventListener("input", filter);
    document.addEventListener("keydown", (event) => {
      if (event.key === "/" && !/^(input|textarea|select)$/i.test(event.target.tagName)) {
        event.preventDefault();
        $("filter").focus();
      }
    });
    const [contract, table] = await Promise.all([read("/openapi.json"), read("/problems")]);
    const spec = prepare(contract, table.problems);
    list(spec);
    window.SwaggerUIBundle({
      spec,
      dom_id: "#reference",
      deepLinking: true,
      validatorUrl: null,
      docExpansion: "list",
      defaultModelsExpandDepth: 0,
      defaultModelExpandDepth: 2,
      displayRequestDuration: true,
      tryItOutEnabled: true,
      persistAuthorization: false,
    });
  }

  start().catch((error) => { $("reference").textContent = error.message; });
})();
