"""A message board: sessions by cookie, messages, uploads of several files in one form."""
import hashlib
import pathlib
import secrets

import tornado.ioloop
import tornado.template
import tornado.web

UPLOADS = pathlib.Path("/srv/uploads")
MESSAGES = []
PAGE = tornado.template.Template("""<title>Board</title>
{% for name, text in messages %}<p><b>{{ name }}</b>: {{ text }}</p>{% end %}""")


class Handler(tornado.web.RequestHandler):
    def prepare(self):
        self.session = self.get_cookie("session") or secrets.token_hex(8)
        self.set_cookie("session", self.session)


class Board(Handler):
    def get(self):
        self.write(PAGE.generate(messages=MESSAGES[-20:]))

    def post(self):
        MESSAGES.append((self.get_argument("name"), self.get_argument("text")))
        del MESSAGES[:-200]
        self.redirect("/")


class Uploads(Handler):
    def get(self):
        self.write({"files": sorted(path.name for path in UPLOADS.iterdir())})

    def post(self):
        names = []
        for files in self.request.files.values():
            for file in files:
                name = hashlib.sha256(file.filename.encode()).hexdigest()[:2]
                (UPLOADS / name).write_bytes(file.body)
                names.append(name)
        self.write({"saved": names})


class Upload(Handler):
    def get(self, name):
        path = UPLOADS / name
        if not path.exists():
            raise tornado.web.HTTPError(404)
        self.write(path.read_bytes())


tornado.web.Application([
    ("/", Board), ("/uploads", Uploads), ("/uploads/([0-9a-f]+)", Upload),
]).listen(8080, "127.0.0.1", max_body_size=16 << 20)
tornado.ioloop.IOLoop.current().start()
