//! Rows 1, 3, 4, 6, 7, 8, 9 and 11: each state is made, and is the only thing found.

use std::net::{Shutdown, SocketAddr};

use millstream_doctor::Side;
use socket2::{Domain, Socket, Type};

use crate::namespace::{
    CLIENT, SERVER, expect, inside, leave_time_wait, listen, pair, pairs, report, set, socket, total, until,
};

#[test]
fn row_1_all_ports_in_time_wait() {
    inside(|| {
        leave_time_wait(100);
        let report = report(|_| ());
        expect(&report, 1);
        let one = &report.diagnoses[0];
        assert_eq!(one.endpoint.as_deref(), Some("10.9.0.1 -> 10.9.0.2:8080"));
        assert_eq!(report.endpoints[0].seconds_to_exhaustion, Some(0));
        // These ports were left before anybody looked: nobody is named.
        assert_eq!((report.endpoints[0].processes.len(), report.endpoints[0].unknown), (0, 100));
    });
}

#[test]
fn row_1_all_ports_in_use() {
    inside(|| {
        let (listener, to) = listen();
        let _open = pairs(&listener, to, 100);
        let report = report(|_| ());
        expect(&report, 1);
        assert!(
            report.diagnoses[0].cause.contains("more connections are open at once"),
            "{}",
            report.to_text()
        );
    });
}

#[test]
fn row_3_bound_sockets_take_ports() {
    inside(|| {
        let bound: Vec<_> = (0..60)
            .map(|_| {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                socket.bind(&SocketAddr::from((CLIENT, 0)).into()).unwrap();
                socket
            })
            .collect();
        let report = report(|_| ());
        expect(&report, 3);
        let me = format!("(pid {}): {}", std::process::id(), bound.len());
        assert!(report.diagnoses[0].evidence.iter().any(|line| line.contains(&me)), "{}", report.to_text());
    });
}

#[test]
fn row_4_time_wait_of_our_own() {
    inside(|| {
        leave_time_wait(40);
        let report = report(|_| ());
        expect(&report, 4);
        assert_eq!(report.diagnoses[0].side, Some(Side::Connecting));
    });
}

#[test]
fn row_6_limit_of_time_wait() {
    inside(|| {
        set("net/ipv4/tcp_max_tw_buckets", "3");
        let report = report(|at| {
            if at == 1 {
                let (listener, to) = listen();
                for _ in 0..20 {
                    let (client, server) = pair(&listener, to);
                    drop(client);
                    drop(server);
                }
            }
        });
        expect(&report, 6);
        let setting = report.diagnoses[0].remedies.iter().find_map(|one| one.setting.as_ref()).unwrap();
        assert!(setting.proposed.parse::<u64>().unwrap() > 3, "{setting:?}");
    });
}

#[test]
fn row_7_close_wait_grows() {
    inside(|| {
        let (listener, to) = listen();
        let (mut gone, mut leaked) = (vec![], vec![]);
        let report = report(|_| {
            let (clients, servers) = pairs(&listener, to, 3);
            clients.iter().for_each(|client| client.shutdown(Shutdown::Write).unwrap());
            gone.extend(clients);
            leaked.extend(servers);
        });
        expect(&report, 7);
        assert_eq!(report.diagnoses[0].side, Some(Side::Listening));
        let me = format!("(pid {})", std::process::id());
        assert!(report.diagnoses[0].evidence.iter().any(|line| line.contains(&me)), "{}", report.to_text());
    });
}

#[test]
fn row_8_half_closed_and_held() {
    inside(|| {
        let (listener, to) = listen();
        let (clients, _servers) = pairs(&listener, to, 20);
        clients.iter().for_each(|client| client.shutdown(Shutdown::Write).unwrap());
        until(|sample| total(sample, |states| states.fin_wait_2_owned) == 20);
        expect(&report(|_| ()), 8);
    });
}

#[test]
fn row_9_half_closed_and_orphaned() {
    inside(|| {
        let (listener, to) = listen();
        let (clients, _servers) = pairs(&listener, to, 20);
        drop(clients);
        until(|sample| total(sample, |states| states.fin_wait_2_orphan) == 20);
        let report = report(|_| ());
        expect(&report, 9);
        let setting = report.diagnoses[0].remedies.iter().find_map(|one| one.setting.as_ref()).unwrap();
        assert_eq!((setting.name.as_str(), setting.now.as_deref()), ("net.ipv4.tcp_fin_timeout", Some("60")));
    });
}

#[test]
fn row_11_accept_queue_overflows() {
    inside(|| {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let to = SocketAddr::from((SERVER, 8080));
        listener.bind(&to.into()).unwrap();
        listener.listen(1).unwrap();
        let mut asking = vec![];
        let report = report(|at| {
            if at == 1 {
                asking.extend((0..8).map(|_| {
                    let socket = socket();
                    socket.set_nonblocking(true).unwrap();
                    // It is under way, or dropped: that is the point.
                    let _ = socket.connect(&to.into());
                    socket
                }));
            }
        });
        expect(&report, 11);
        assert_eq!(report.diagnoses[0].endpoint.as_deref(), Some("10.9.0.2:8080"));
    });
}

#[test]
fn quiet_namespace_is_well() {
    inside(|| {
        let (listener, to) = listen();
        let _open = pairs(&listener, to, 10);
        let report = report(|_| ());
        assert_eq!(report.diagnoses, [], "{}", report.to_text());
    });
}
