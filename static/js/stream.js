// Live text: log tails over server-sent events, chat answers over fetch.
(() => {
  const d = document;
  const MAX_LINES = 5000;
  const make = (tag, css = "", text = "") => { const el = d.createElement(tag); if (css) el.className = css; el.textContent = text; return el; };

  // ---- A log: follows its end unless the reader scrolled up or paused. After a drop the browser asks
  // again with Last-Event-ID, which is the next byte's offset.
  const tone = line => /\b(ERROR|CRITICAL|FATAL|Traceback|\w+Error:)/.test(line) ? "e" : /\b(WARN|WARNING)\b/.test(line) ? "w" : "";
  const writer = box => {
    const last = d.createTextNode(""); // the line that is still being written
    box.append(last);
    return text => {
      const lines = (last.data + text).split("\n");
      last.data = lines.pop();
      last.before(...lines.map(line => { const css = tone(line); return css ? make("span", css, `${line}\n`) : d.createTextNode(`${line}\n`); }));
      while (box.childNodes.length > MAX_LINES) box.firstChild.remove();
    };
  };
  d.querySelectorAll("[data-log-stream]").forEach(box => {
    const mark = d.querySelector(`[data-log-state="${box.id}"]`), pause = d.querySelector(`[data-log-pause="${box.id}"]`);
    const write = writer(box), source = new EventSource(box.dataset.logStream);
    let paused = false, ended = false;
    const show = (word, stale) => { if (mark) { mark.textContent = word; mark.classList.toggle("stale", stale); mark.classList.toggle("over", ended); } };
    const state = () => ended ? show("Ended", false) : paused ? show("Paused", true) : show("Following", false);
    source.addEventListener("log", event => {
      const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
      write(JSON.parse(event.data).text);
      if (atEnd && !paused) box.scrollTop = box.scrollHeight;
      state();
    });
    source.addEventListener("end", () => { ended = true; source.close(); state(); });
    source.addEventListener("error", () => { if (!ended) show(source.readyState === EventSource.CLOSED ? "Not reachable" : "Reconnecting", true); });
    source.addEventListener("open", state);
    addEventListener("pagehide", () => source.close());
    pause?.addEventListener("click", () => {
      paused = !paused;
      pause.setAttribute("aria-pressed", String(paused));
      if (!paused) box.scrollTop = box.scrollHeight;
      state();
    });
  });

  // ---- A chat: <form data-chat="id of the .msgs" data-name="chat-prod" action="…"> with a textarea, an optional
  // [data-stop], [data-clear], and inputs named temperature or max_tokens. Answers are OpenAI chunks.
  const prose = (box, text) => {
    // Fenced code, paragraphs and `code`: what a chat needs, made of text nodes only.
    box.replaceChildren(...text.split(/^```[^\n]*\n?/m).flatMap((part, i) => {
      if (i % 2) return part.trim() ? [make("pre", "mono", part.replace(/\n$/, ""))] : [];
      return part.split(/\n{2,}/).filter(piece => piece.trim()).map(piece => {
        const paragraph = d.createElement("p");
        paragraph.append(...piece.trim().split(/`([^`\n]+)`/).map((words, k) => k % 2 ? make("code", "", words) : words));
        return paragraph;
      });
    }));
  };
  const NUMBERS = ["temperature", "max_tokens"];
  const settings = form => Object.fromEntries(NUMBERS.flatMap(name => { const value = form.elements[name]?.value; return value ? [[name, Number(value)]] : []; }));

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
        if (!data) continue;
        const chunk = JSON.parse(data);
        if (chunk.error) throw new Error(chunk.error.message || "The endpoint stopped with an error.");
        yield chunk;
      }
    }
  }
  const trouble = async response => {
    const answer = await response.json().catch(() => null);
    return new Error(answer?.error?.message || answer?.detail || `The endpoint answered ${response.status}.`);
  };

  d.querySelectorAll("form[data-chat]").forEach(form => {
    const list = d.getElementById(form.dataset.chat), field = form.querySelector("textarea");
    const stop = form.querySelector("[data-stop]"), send = form.querySelector("[type=submit]"), clear = d.querySelector(`[data-clear="${form.dataset.chat}"]`);
    const empty = [...list.childNodes];
    let said = [], running = null;
    const bubble = (css, who) => {
      const item = make("div", css), body = make("div", css.includes("user") ? "" : "prose");
      item.append(make("small", "", who), body); list.append(item);
      list.scrollTop = list.scrollHeight;
      return { item, body };
    };
    const busy = is => { send.disabled = is; if (stop) stop.hidden = !is; };
    stop?.addEventListener("click", () => running?.abort());
    clear?.addEventListener("click", () => { running?.abort(); said = []; list.replaceChildren(...empty); field.focus(); });
    field.addEventListener("keydown", event => { if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); form.requestSubmit(); } });

    const ask = async ({ item, body }) => {
      const begun = performance.now(), caret = make("span", "caret");
      let first = null, answer = "", usage = null, drawn = 0;
      const draw = () => {
        drawn = 0;
        const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
        prose(body, answer); (body.lastElementChild || body).append(caret);
        if (atEnd) list.scrollTop = list.scrollHeight;
      };
      body.append(caret);
      try {
        const response = await fetch(form.action, {
          method: "POST", signal: running.signal, body: JSON.stringify({ messages: said, stream: true, ...settings(form) }),
          headers: { "Content-Type": "application/json", "X-CSRFToken": form.querySelector("[name=csrfmiddlewaretoken]").value },
        });
        if (!response.ok) throw await trouble(response);
        for await (const chunk of events(response.body)) {
          const text = chunk.choices?.[0]?.delta?.content || "";
          if (text) { first ??= performance.now() - begun; answer += text; drawn ||= requestAnimationFrame(draw); }
          if (chunk.usage) usage = chunk.usage;
        }
        return { answer, note: figures(first, performance.now() - begun, usage) };
      } catch (error) {
        if (error.name === "AbortError") return { answer, note: ["Stopped"] };
        item.classList.add("bad");
        return { answer: "", problem: error instanceof TypeError ? "Stackweb cannot be reached. Send it again." : error.message };
      } finally {
        cancelAnimationFrame(drawn); draw(); caret.remove();
      }
    };
    const figures = (first, took, usage) => {
      const tokens = usage?.completion_tokens, seconds = (took - (first || 0)) / 1000;
      return [first && `TTFT ${Math.round(first)} ms`, tokens > 1 && seconds > 0 && `${((tokens - 1) / seconds).toFixed(1)} tok/s`, tokens && `${tokens} tokens`].filter(Boolean);
    };

    form.addEventListener("submit", async event => {
      event.preventDefault();
      const question = field.value.trim();
      if (!question || running) return;
      if (!said.length) list.replaceChildren();
      said.push({ role: "user", content: question });
      bubble("msg user", "You").body.textContent = question;
      field.value = "";
      const reply = bubble("msg", form.dataset.name || "Answer");
      running = new AbortController(); busy(true);
      const { answer, note, problem } = await ask(reply);
      running = null; busy(false); field.focus();
      // A question without an answer is not part of what was said, so the next one stands alone.
      if (answer) said.push({ role: "assistant", content: answer }); else said.pop();
      if (problem) reply.body.textContent = problem;
      if (note?.length) { const stat = make("div", "stat"); stat.append(...note.map(words => make("span", "", words))); reply.item.append(stat); }
      window.stackweb?.say(problem || "Answer complete");
    });
  });
})();
