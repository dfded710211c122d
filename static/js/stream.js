// Live text: log tails over server-sent events, chat answers over fetch.
(() => {
  const d = document;
  const MAX_LINES = 5000;

  // A log: follows its end unless the reader scrolled up or paused; resumes by offset after a drop.
  d.querySelectorAll("[data-log-stream]").forEach(box => {
    const mark = d.querySelector(`[data-log-state="${box.id}"]`);
    const pause = d.querySelector(`[data-log-pause="${box.id}"]`);
    let paused = false;
    const show = (word, stale) => { if (mark) { mark.textContent = word; mark.classList.toggle("stale", stale); } };
    const source = new EventSource(box.dataset.logStream);
    source.addEventListener("log", event => {
      const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
      box.append(JSON.parse(event.data).text);
      trim(box);
      if (atEnd && !paused) box.scrollTop = box.scrollHeight;
      show(paused ? "Paused" : "Following", paused);
    });
    source.addEventListener("end", () => { source.close(); show("Ended", false); });
    source.addEventListener("error", () => { if (source.readyState !== EventSource.CLOSED) show("Reconnecting", true); });
    addEventListener("pagehide", () => source.close());
    pause?.addEventListener("click", () => {
      paused = !paused;
      pause.setAttribute("aria-pressed", String(paused));
      show(paused ? "Paused" : "Following", paused);
      if (!paused) box.scrollTop = box.scrollHeight;
    });
  });
  const trim = box => {
    if (box.childNodes.length < 200) return;
    const lines = box.textContent.split("\n");
    if (lines.length > MAX_LINES) box.textContent = lines.slice(-MAX_LINES).join("\n");
  };

  // A chat: <form data-chat action=…> with a textarea; answers stream as OpenAI chunks.
  d.querySelectorAll("form[data-chat]").forEach(form => {
    const list = d.getElementById(form.dataset.chat), field = form.querySelector("textarea"), stop = form.querySelector("[data-stop]");
    const send = form.querySelector("[type=submit]"), said = [];
    let running = null;
    const bubble = (who, text) => {
      const item = d.createElement("div");
      item.className = `msg ${who}`;
      const body = d.createElement("p");
      body.textContent = text;
      item.append(body); list.append(item); list.scrollTop = list.scrollHeight;
      return body;
    };
    const note = (body, text) => { const small = d.createElement("small"); small.textContent = text; body.parentNode.append(small); };
    const busy = is => { send.disabled = is; if (stop) stop.hidden = !is; };
    stop?.addEventListener("click", () => running?.abort());
    field.addEventListener("keydown", event => { if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); form.requestSubmit(); } });
    form.addEventListener("submit", async event => {
      event.preventDefault();
      const question = field.value.trim();
      if (!question || running) return;
      list.querySelector(".dim")?.remove();
      said.push({ role: "user", content: question });
      bubble("user", question);
      field.value = "";
      const body = bubble("bot", "");
      running = new AbortController(); busy(true);
      const begun = performance.now(); let first = null, answer = "", usage = null;
      try {
        const response = await fetch(form.action, {
          method: "POST", signal: running.signal, body: JSON.stringify({ messages: said, stream: true }),
          headers: { "Content-Type": "application/json", "X-CSRFToken": form.querySelector("[name=csrfmiddlewaretoken]").value },
        });
        if (!response.ok) throw new Error((await response.json().catch(() => null))?.error?.message || `The endpoint answered ${response.status}.`);
        for await (const chunk of events(response.body)) {
          const text = chunk.choices?.[0]?.delta?.content || "";
          if (text) { first ??= performance.now() - begun; answer += text; body.textContent = answer; list.scrollTop = list.scrollHeight; }
          if (chunk.usage) usage = chunk.usage;
        }
        said.push({ role: "assistant", content: answer });
        const seconds = (performance.now() - begun) / 1000, tokens = usage?.completion_tokens;
        note(body, [first && `first token ${Math.round(first)} ms`, tokens && `${tokens} tokens`, tokens && `${(tokens / seconds).toFixed(1)} tok/s`].filter(Boolean).join(" · "));
        window.stackweb?.say("Answer complete");
      } catch (error) {
        if (error.name === "AbortError") note(body, "Stopped"); else { body.parentNode.classList.add("bad"); body.textContent = error.message; }
        said.pop();
      } finally { running = null; busy(false); field.focus(); }
    });
  });
  async function* events(stream) {
    const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const data = line.startsWith("data:") ? line.slice(5).trim() : "";
        if (data === "[DONE]") return;
        if (data) yield JSON.parse(data);
      }
    }
  }
})();
