from include.warehouse import connect


def test_connects(warehouse):
    with connect() as c, c.cursor() as cur:
        cur.execute("select current_setting('timezone')")
        assert cur.fetchone() == ("UTC",)
